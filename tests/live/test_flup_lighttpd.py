"""A flup script that a real lighttpd starts itself: as FastCGI with its listener at descriptor 0, and as plain CGI."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from flup_server import ROOT
from ports import free_port

SCRIPT_TEXT = """\
import os, sys
sys.path[:0] = [{root!r}, {support!r}]
os.environ.update({switches!r})
from fastcore.flup import install
install()

from flup.server.fcgi import WSGIServer
from flup_cases import application

WSGIServer(application).run()
"""

CONFIGURATION = """\
server.port = {port}
server.bind = "127.0.0.1"
server.document-root = "{directory}"
server.modules = ("mod_fastcgi", "mod_cgi")
server.errorlog = "{directory}/error.log"
server.breakagelog = "{directory}/breakage.log"
fastcgi.server = ("/fast" => ((
    "bin-path" => "{python} {directory}/app.py", "socket" => "{directory}/s",
    "max-procs" => 1, "check-local" => "disable"
)))
cgi.assign = (".py" => "{python}")
static-file.exclude-extensions = (".py")
"""


@pytest.fixture
def site(tmp_path, twin_environment):
    """The port of a lighttpd that has the script at /fast as FastCGI and at /app.py as CGI."""
    program = shutil.which("lighttpd", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("lighttpd is not installed (Debian: lighttpd)")
    switches = {name: twin_environment[name] for name in twin_environment if name.startswith("FASTCORE_")}
    text = SCRIPT_TEXT.format(root=str(ROOT), support=str(ROOT / "tests" / "support"), switches=switches)
    (tmp_path / "app.py").write_text(text)
    port = free_port()
    (tmp_path / "conf").write_text(CONFIGURATION.format(port=port, directory=tmp_path, python=sys.executable))
    process = subprocess.Popen([program, "-D", "-f", tmp_path / "conf"], start_new_session=True)
    try:
        wait_for_port(port, process, tmp_path)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass


def wait_for_port(port: int, process: subprocess.Popen[bytes], directory: Path) -> None:
    end = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "lighttpd ended"
        assert time.monotonic() < end, (directory / "error.log").read_text()
        time.sleep(0.05)


def get(port: int, path: str, case: str, body: bytes | None = None) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"Case": case})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize(("prefix", "once"), [("/fast", False), ("/app.py", True)])
def test_script_started_by_lighttpd(site, prefix, once):
    assert get(site, prefix, "hello") == (200, b"hello")
    assert get(site, prefix, "echo", b"\0body" * 100_000) == (200, b"\0body" * 100_000)
    assert get(site, prefix, "bytes_head") == (404, b"gone")
    assert get(site, prefix, "printing") == (200, b"printed")
    status, body = get(site, prefix, "boom")
    assert status == 500
    assert b"inner" not in body
    told = dict(eval(get(site, f"{prefix}/a%20b?x=1", "told")[1]))
    assert (told["SCRIPT_NAME"], told["PATH_INFO"], told["QUERY_STRING"]) == (prefix, "/a b", "x=1")
    assert eval(get(site, prefix, "extra")[1]) == [None, "http", once]
    pids = {get(site, prefix, "pid")[1].split()[0] for _ in range(3)}
    assert len(pids) == (3 if once else 1)
