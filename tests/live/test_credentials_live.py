"""Secrets, umask and limits of a back end, asked of the running process itself, and of the others what they see."""

from __future__ import annotations

import json
import os
import pwd
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, discard, eventually, open_folder

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")

SECRET = "correct horse battery staple"


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    secret = folder / "token.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    site.add_backend("one", credentials={"token": str(secret)}, umask="027", sandbox=False)
    site.add_backend("two", credentials={"token": "token.secret"}, umask="022", workers=2)
    site.add_backend("three", sandbox=False)
    site.backends["two"]["limits"] = {}
    try:
        site.setup()
        text = site.file.read_text()
        limits = 'limits = { open_files = 100, cpu = 1000, core = "64 KiB", file_size = "1 MiB" }'
        site.file.write_text(text.replace("limits = {  }", limits))
        site.start()
        yield site
    finally:
        site.remove()
        discard(folder)


def folder_of(site: RunningSite, name: str) -> str:
    return str(site.run_directory / "credentials" / name)


def run(site: RunningSite, backend: str, code: str) -> str:
    return site.text(f"/{backend}/run?{code.encode().hex()}")


@pytest.mark.parametrize("backend", ["one", "two"])
def test_a_back_end_finds_its_secret_where_the_variable_says(site: RunningSite, backend: str) -> None:
    code = "said = open(os.environ['CREDENTIALS_DIRECTORY'] + '/token').read()"
    assert run(site, backend, code) == repr(SECRET)
    assert "CREDENTIALS_DIRECTORY" not in site.text("/three/environment")


def test_the_copy_is_its_users_alone_in_a_folder_of_roots(site: RunningSite) -> None:
    for name in ("one", "two"):
        account = pwd.getpwnam(site.user_of(name))
        folder, file = os.stat(folder_of(site, name)), os.stat(folder_of(site, name) + "/token")
        assert (stat.S_IMODE(folder.st_mode), folder.st_uid, folder.st_gid) == (0o750, 0, account.pw_gid)
        assert (stat.S_IMODE(file.st_mode), file.st_uid) == (0o400, account.pw_uid)


@pytest.mark.parametrize("backend", ["one", "two", "three"])
def test_no_other_back_end_reads_it(site: RunningSite, backend: str) -> None:
    for other in {"one", "two"} - {backend}:
        assert site.text(f"/{backend}/read?{folder_of(site, other)}/token").startswith("PermissionError")
        assert site.text(f"/{backend}/list?{folder_of(site, other)}").startswith("PermissionError")
    assert site.text(f"/{backend}/read?{site.folder}/token.secret").startswith("PermissionError")
    for user in ("nobody", "www-data"):
        done = subprocess.run(["cat", folder_of(site, "one") + "/token"], user=user, capture_output=True, check=False)
        assert done.returncode == 1


@pytest.mark.parametrize("backend", ["one", "two"])
def test_it_puts_nothing_in_the_place_of_its_secrets(site: RunningSite, backend: str) -> None:
    assert site.text(f"/{backend}/write?{folder_of(site, backend)}/other").startswith("PermissionError")
    code = f"os.rename({folder_of(site, backend)!r} + '/token', {folder_of(site, backend)!r} + '/gone')"
    assert "PermissionError" in run(site, backend, code) or "OSError" in run(site, backend, code)


def test_the_secret_is_in_no_environment_command_line_or_log(site: RunningSite) -> None:
    for part in site.status()["parts"]:
        for pid in part["processes"]:
            for name in ("environ", "cmdline"):
                assert SECRET.encode() not in Path(f"/proc/{pid}/{name}").read_bytes()
    assert SECRET not in site.said()


def test_a_changed_secret_comes_with_a_reload(site: RunningSite) -> None:
    secret = site.folder / "token.secret"
    secret.write_text("another one")
    try:
        assert site.sitectl("reload", "one").returncode == 0
        assert run(site, "one", "said = open(os.environ['CREDENTIALS_DIRECTORY'] + '/token').read()") == "'another one'"
    finally:
        secret.write_text(SECRET)
        assert site.sitectl("reload", "one").returncode == 0


def test_the_umask_is_as_declared(site: RunningSite) -> None:
    code = "os.close(os.open(os.environ['HOME'] + '/made', os.O_CREAT | os.O_WRONLY, 0o666)); said = 1"
    for name, mode in (("one", 0o640), ("two", 0o644), ("three", 0o600)):
        assert run(site, name, code) == "1"
        assert stat.S_IMODE(os.stat(site.state_directory / name / "made").st_mode) == mode


def test_the_limits_are_as_declared_and_can_only_be_narrowed(site: RunningSite) -> None:
    names = "'NOFILE', 'CPU', 'CORE', 'FSIZE', 'NPROC'"
    code = f"import resource; said = [resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) for name in ({names})]"
    wanted = [(100, 100), (1000, 1000), (65536, 65536), (1 << 20, 1 << 20), (512, 512)]
    assert run(site, "two", code) == repr(wanted)
    assert json.loads(run(site, "three", code).replace("(", "[").replace(")", "]"))[0] == [4096, 4096]
    wider = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))"
    assert "Error" in run(site, "two", wider)
    grow = "open(os.environ['HOME'] + '/big', 'wb').write(bytes(2 << 20))"
    code = f"import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); {grow}"
    assert "File too large" in run(site, "two", code)


def test_doctor_finds_nothing_wider_and_tries_the_secrets(site: RunningSite) -> None:
    done = site.sitectl("doctor", "--all")
    assert done.returncode == 0, done.stdout
    assert f"read     {folder_of(site, 'one')}" in done.stdout


def test_a_secret_that_is_not_there_keeps_the_site_from_starting(site: RunningSite) -> None:
    secret = site.folder / "token.secret"
    secret.rename(site.folder / "moved")
    try:
        done = site.sitectl("reload")
        assert done.returncode == 1
        assert f"credential 'token': {secret}: No such file or directory" in done.stderr
    finally:
        (site.folder / "moved").rename(secret)


def test_nothing_of_it_stays_when_the_site_has_stopped(site: RunningSite) -> None:
    site.stop()
    assert not Path(folder_of(site, "one")).exists()
    eventually("the run directory is gone", lambda: not (site.run_directory / "credentials").exists())
