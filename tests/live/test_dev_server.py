"""`sitectl dev` as a developer meets it: it starts without root, reloads, shows what is wrong, and leaves nothing."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_port

PATIENCE = 40.0
"""Seconds after which an expected thing has not happened."""

SITE = """
[site]
name = "tryout"

[[host]]
name = "localhost"
aliases = ["127.0.0.1"]
backends = { one = "/", two = "/two" }

[backend.one]
application = "one:app"
user = "tryout-one"

[backend.two]
application = "two:application"
user = "tryout-two"
environment = { GREETING = "hello" }
"""

ONE = """
import os
from framework import App

def home(request):
    return f"WORD {os.getpid()} {os.getuid()} {os.getcwd()}"

def broken(request):
    raise RuntimeError("this is broken")

app = App([(r"^/$", home, "home"), (r"^/broken$", broken)])
"""

TWO = """
import os

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    with open("kept", "a") as file:
        file.write("x")
    return [(os.environ["GREETING"] + environ["PATH_INFO"] + str(os.path.getsize("kept"))).encode()]
"""


class DevelopmentServer:
    """A running `sitectl dev` in a folder of its own, as an ordinary user where the tests run as root."""

    def __init__(self, *options: str, as_root: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="dev-"))
        self.folder.chmod(0o755)
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir()
        self.temporary.chmod(0o1777)
        for name, text in [("site.toml", SITE), ("one.py", ONE.replace("WORD", "first")), ("two.py", TWO)]:
            (self.folder / name).write_text(text)
        self.port = free_port()
        self.log = self.folder / "log"
        self._options = options
        self._account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        if as_root or os.geteuid() != 0:
            self._account = {}

    def __enter__(self) -> DevelopmentServer:
        command = [sys.executable, "-m", "framework.cli", "dev", str(self.folder), "--listen", f"127.0.0.1:{self.port}"]
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("HOME", "XDG", "SUDO"))
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment | {"TMPDIR": str(self.temporary)},
                **self._account,  # type: ignore[call-overload]
            )
        self.until(lambda: "stop with Ctrl-C" in self.log.read_text())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGINT)
        shutil.rmtree(self.folder)

    def stop(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def get(self, path: str = "/") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def until(self, holds: Callable[[], bool]) -> None:
        give_up = time.monotonic() + PATIENCE
        while not holds():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < give_up, self.log.read_text()
            time.sleep(0.05)

    def write(self, name: str, text: str) -> None:
        """Save a file as an editor does: whole, under a new inode."""
        (self.folder / f".{name}.new").write_text(text)
        (self.folder / f".{name}.new").replace(self.folder / name)


@pytest.fixture
def server() -> Iterator[DevelopmentServer]:
    with DevelopmentServer() as running:
        yield running


def test_both_kinds_of_application_answer_as_the_caller(server: DevelopmentServer) -> None:
    status, text = server.get("/")
    word, _, uid, directory = text.split()[:4]
    assert (status, word) == (200, "first")
    assert int(uid) != 0 or os.geteuid() == 0
    assert directory.startswith(str(server.temporary))
    assert server.get("/two/x") == (200, "hello/x1")
    assert server.get("/two/y") == (200, "hello/y2")
    told = server.log.read_text()
    assert "no privilege separation" in told
    assert "no lighttpd" in told
    assert f"open http://localhost:{server.port}/" in told


def test_an_exception_is_shown_with_its_traceback(server: DevelopmentServer) -> None:
    status, text = server.get("/broken")
    assert status == 500
    assert "RuntimeError: this is broken" in text
    server.until(lambda: "RuntimeError: this is broken" in server.log.read_text())


def test_a_saved_file_starts_its_back_ends_again_and_no_request_fails(server: DevelopmentServer) -> None:
    before = server.get("/")[1].split()
    server.write("one.py", ONE.replace("WORD", "second"))
    answers = []

    def is_new() -> bool:
        answers.append(server.get("/"))
        return answers[-1][1].startswith("second")

    server.until(is_new)
    assert {status for status, _ in answers} == {200}
    assert answers[-1][1].split()[1] != before[1]
    assert f"{server.folder}/one.py changed: one starts again" in server.log.read_text()


def test_a_mistake_is_shown_in_page_and_terminal_until_it_is_mended(server: DevelopmentServer) -> None:
    server.write("one.py", "import os\nif True print('x')\n")
    server.until(lambda: server.get("/")[0] == 503)
    page = server.get("/")[1]
    assert "The back end “one” does not run" in page
    assert "SyntaxError" in page
    assert "one.py" in page
    assert "SyntaxError" in server.log.read_text()
    server.write("one.py", ONE.replace("WORD", "mended"))
    server.until(lambda: server.get("/")[1].startswith("mended"))


def test_a_back_end_that_dies_starts_again(server: DevelopmentServer) -> None:
    pid = int(server.get("/")[1].split()[1])
    os.kill(pid, signal.SIGKILL)
    server.until(lambda: server.get("/")[0] == 200)
    assert int(server.get("/")[1].split()[1]) != pid
    assert "killed by SIGKILL" in server.log.read_text()


def test_a_changed_site_file_takes_effect_and_a_wrong_one_none(server: DevelopmentServer) -> None:
    server.write("site.toml", SITE + "nonsense")
    server.until(lambda: "the site goes on as it was" in server.log.read_text())
    assert server.get("/two/x")[0] == 200
    server.write("site.toml", SITE.replace('two = "/two"', 'two = "/zwei"'))
    server.until(lambda: server.get("/zwei/x")[0] == 200)
    assert server.get("/two/x")[0] == 404


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_with_nothing_left(server: DevelopmentServer, number: signal.Signals) -> None:
    pids = [int(server.get("/")[1].split()[1])]
    assert server.stop(number) == 0
    assert list(server.temporary.iterdir()) == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "nothing is left" in server.log.read_text()


def test_state_can_be_kept() -> None:
    folder = Path(tempfile.mkdtemp(prefix="state-"))
    folder.chmod(0o777)
    try:
        for expected in ("hello/x1", "hello/x2"):
            with DevelopmentServer("--state", str(folder / "kept")) as server:
                assert server.get("/two/x") == (200, expected)
    finally:
        shutil.rmtree(folder)


def test_for_root_the_back_ends_run_as_nobody() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with DevelopmentServer(as_root=True) as server:
        status, text = server.get("/")
        assert (status, text.split()[2]) == (200, "65534")
        assert server.get("/two/x") == (200, "hello/x1")


def test_a_taken_port_is_told_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "site.toml").write_text(SITE)
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = subprocess.run(
            [sys.executable, "-m", "framework.cli", "dev", folder, "--listen", address],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert result.returncode == 1
    assert f"{address}: Address already in use" in result.stderr
    assert "--listen" in result.stderr
    assert "Traceback" not in result.stderr
