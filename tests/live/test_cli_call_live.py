"""`sitectl call` and a site that runs: root may, others are told that they may not, and Ctrl-C ends a generator."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, discard, eventually, open_folder, running_site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")

APPLICATION = """\
import asyncio, os
from framework import App, Request
from framework.rpc import Proxy, RPCError

def whoami(request: Request) -> list[object]:
    return [os.getuid(), request.remote_user, request.prefix]

def busy() -> None:
    raise RPCError("The disk is in use.", code=7)

async def follow(unit: str):
    try:
        yield unit
        await asyncio.Event().wait()
    finally:
        open(os.environ["HOME"] + "/left", "w").close()

app = App([("/rpc$", Proxy([whoami, busy, follow]))])
"""


@pytest.fixture
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.write_code("remote_functions.py", APPLICATION)
    site.add_backend("one", application="remote_functions:app")
    try:
        with running_site(site):
            yield site
    finally:
        discard(folder)


def test_functions_of_a_running_site(site: RunningSite) -> None:
    done = site.sitectl("call", "one", "whoami", "--as", "operator", "--json")
    assert done.returncode == 0, done.stderr
    uid, user, prefix = json.loads(done.stdout)
    assert (user, prefix) == ("operator", "/one")
    assert uid == int(site.part("one")["uid"]) if "uid" in site.part("one") else uid != 0
    by_url = subprocess.run(
        site.command("call", f"http://127.0.0.1:{site.port}/one/rpc", "whoami", "--json"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=site.environment,
    )
    assert json.loads(by_url.stdout) == [uid, None, "/one"]
    assert "follow(unit: string)" in site.sitectl("call", "one").stdout
    done = site.sitectl("call", "one", "busy")
    assert (done.returncode, done.stderr) == (1, "sitectl call: RPCError: The disk is in use. (code 7)\n")
    done = site.sitectl("call", "one", "whoam")
    assert (done.returncode, "did you mean 'whoami'?" in done.stderr) == (2, True)

    # `sitectl call … | cat` of a stream, until Ctrl-C
    command = site.command("call", str(site.file), "one", "follow", "sshd")
    follower = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=site.environment, cwd=site.folder
    )
    assert follower.stdout is not None
    assert follower.stdout.readline() == "sshd\n"
    follower.send_signal(signal.SIGINT)
    assert follower.communicate(timeout=60)[1] == ""
    assert follower.returncode == 130
    eventually("the generator was ended", lambda: list(site.state_directory.rglob("left")))

    # nobody else may connect; what they are told is in tests/unit/test_cli_call.py
    found = (site.run_directory / "sockets/one.sock").stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o660)
