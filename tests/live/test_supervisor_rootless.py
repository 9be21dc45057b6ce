"""A site run by somebody without root: all runs, everything as the caller, and that is said."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, alive, discard, eventually, open_folder

from framework.process.proof import read_status

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it becomes another user to be without it")

USER = "nobody"


@pytest.fixture
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    os.chown(folder, *pwd.getpwnam(USER)[2:4])
    environment = {"PATH": os.environ["PATH"], "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir(mode=0o777)
    (folder / "tmp").chmod(0o777)
    site = RunningSite(folder, environment=environment)
    site.add_backend("one")
    site.add_backend("two")
    site.write_site()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, *pwd.getpwnam(USER)[2:4])
    try:
        if (
            not os.access(sys.executable, os.X_OK)
            or subprocess.run([sys.executable, "-c", ""], user=USER, check=False).returncode
        ):
            pytest.fail(f"user {USER} cannot execute {sys.executable}")
        yield site
    finally:
        if site.process is not None:
            site.stop()
        discard(folder)


def as_user(site: RunningSite, command: str) -> subprocess.CompletedProcess[str]:
    return site.sitectl(command, user=USER, group="nogroup", extra_groups=[])


def start(site: RunningSite) -> None:
    with open(site.log, "wb") as log:
        site.process = subprocess.Popen(
            site.command("run", str(site.file)),
            user=USER,
            group="nogroup",
            extra_groups=[],
            cwd=site.folder,
            env=site.environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    eventually(
        f"the site is up: {site.said()}", lambda: "  open http" in site.said() or site.process.poll() is not None
    )
    assert site.process.poll() is None, site.said()


def test_all_runs_as_the_caller_and_that_is_said(site: RunningSite) -> None:
    start(site)
    uid = pwd.getpwnam(USER).pw_uid
    assert site.text("/one/").split()[0] == str(uid)
    assert site.text("/static/hello.txt") == "hello"
    assert "  without root: everything runs as nobody, so no part is protected from another\n" in site.said()
    state = site.folder / "state" / site.name / "one"
    assert site.text(f"/one/write?{state}/note") == "1"
    assert state.stat().st_mode & 0o777 == 0o700
    status = read_status(int(site.text("/one/").split()[1]))
    assert (status["NoNewPrivs"], status["CapEff"]) == ("1", "0" * 16)
    done = as_user(site, "status")
    assert done.returncode == 0, done.stderr
    assert "supervisor  nobody" in done.stdout
    run_directory = site.folder / "tmp" / f"sites-{uid}" / site.name
    assert (run_directory / "sockets" / "one.sock").stat().st_mode & 0o777 == 0o660
    assert run_directory.parent.stat().st_mode & 0o777 == 0o700
    done = as_user(site, "stop")
    assert (done.returncode, done.stdout) == (0, f"{site.name} has stopped\n")
    assert not run_directory.exists()


def test_ctrl_c_ends_all(site: RunningSite) -> None:
    start(site)
    pid = int(site.text("/two/").split()[1])
    assert site.stop(signal.SIGINT) == 0
    assert not alive(pid)


def test_a_port_that_needs_root_is_told(site: RunningSite) -> None:
    site.port = 81
    site.write_site()
    done = as_user(site, "run")
    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1:81: Permission denied; choose another with --listen" in done.stderr
