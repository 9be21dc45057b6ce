"""A back end under systemd alone: started by the process that keeps its listener, reloaded while requests go on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from fastcore.client import Client, cgi_params
from framework.process.parts import interpreter_variables
from framework.process.spec import spec_of
from framework.site import load

ACTIVATOR = Path(__file__).resolve().parents[1] / "support" / "activator.py"
KEEPER = [sys.executable, "-P", "-s", "-S", "-m", "framework.process.keeper"]
PATIENCE = 30.0

SITE = """\
[site]
name = "example"
state_directory = "/nonexistent/state"
[[host]]
name = "a.localhost"
backends = ["web"]
[backend.web]
application = "web:app"
user = "web-user"
group = "web-group"
path = ["code"]
"""

CODE = """\
import os, signal, time
VERSION = {version!r}
{more}
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/health":
        start_response({health!r}, [])
        return [b"health"]
    if path == "/sleep":
        open(environ["QUERY_STRING"], "w").close()
        time.sleep(1.0)
    if path == "/stuck":
        open(environ["QUERY_STRING"], "w").close()
        while True:
            time.sleep(1)
    if path == "/kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if path == "/forge":
        os.write(4, b"READY=1\\nSTATUS=forged\\nSTOPPING=1\\nMAINPID=1")
    said = [VERSION, os.getpid(), os.getppid()]
    if path == "/environment":
        said = sorted(os.environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [" ".join(map(str, said)).encode()]
"""


class Unit:
    """One service and its socket, as systemd would have them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "code").mkdir()
        (folder / "site.toml").write_text(SITE)
        self.write("one")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "web.sock"))
        self.listener.listen(128)
        self.news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.news.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.news.bind(str(folder / "notify"))
        self.news.settimeout(PATIENCE)
        self.senders: set[int] = set()
        self.heard: list[str] = []
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes]

    def write(self, version: str, *, more: str = "", health: str = "200 OK") -> None:
        file = self.folder / "code" / "web.py"
        file.with_suffix(".new").write_text(CODE.format(version=version, more=more, health=health))
        file.with_suffix(".new").rename(file)

    def start(self, *command: str, environment: dict[str, str] | None = None, **changes: Any) -> None:
        spec = {**spec_of(load(self.folder / "site.toml"), "web"), "health": "/health", **changes}
        activated = [sys.executable, str(ACTIVATOR), str(self.listener.fileno()), "web", *(command or (*KEEPER, "web"))]
        variables = {**os.environ, **interpreter_variables(), "NOTIFY_SOCKET": str(self.folder / "notify")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                activated,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(self.listener.fileno(),),
                env=variables | (environment or {}),
            )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(spec).encode())
        self.process.stdin.close()

    def told(self, what: str) -> dict[str, str]:
        """The first message with these words in it; all are remembered, and who sends them."""
        while True:
            data, ancillary, _, _ = self.news.recvmsg(4096, 64)
            self.heard.append(data.decode())
            self.senders.add(int.from_bytes(ancillary[0][2][:4], sys.byteorder))
            if what in data.decode():
                return dict(line.split("=", 1) for line in data.decode().splitlines())

    def ask(self, path: str = "/", query: str = "") -> str:
        with Client(f"unix:{self.folder}/web.sock", timeout=PATIENCE) as client:
            params = {**cgi_params("GET", path), "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query}
            answer = client.request(params)
        assert answer.status == 200, answer
        return answer.body.decode()

    def reload(self) -> subprocess.CompletedProcess[str]:
        """As ExecReload= of the unit does."""
        command = [*KEEPER, "--reload", str(self.process.pid)]
        return run(command)

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE)


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    unit = Unit(tmp_path)
    try:
        yield unit
    finally:
        if hasattr(unit, "process"):
            unit.process.kill()
            unit.process.wait()
        unit.listener.close()
        unit.news.close()


@contextmanager
def asking(unit: Unit) -> Iterator[list[str]]:
    """Requests without a pause, on several connections; each must be answered well."""
    answers: list[str] = []
    failed: list[BaseException] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                answers.append(unit.ask())
            except BaseException as error:
                failed.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert failed == []


def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 2 * PATIENCE, "check": False}
    variables = {**os.environ, **interpreter_variables()}
    return subprocess.run(command, stdin=subprocess.DEVNULL, env=variables, **options, **more)


def eventually(what: str, test: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not test():
        assert time.monotonic() < deadline, f"this never happened: {what}"
        time.sleep(0.02)


def suppressed(unit: Unit, path: str, query: str) -> None:
    """A request that comes to nothing."""
    with suppress(Exception):
        unit.ask(path, query)


def answered(answers: list[str], beginning: str) -> None:
    eventually(f"an answer of {beginning}", lambda: answers[-1].startswith(beginning))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_new_code_takes_over_and_no_request_fails(unit: Unit, workers: int) -> None:
    unit.start(workers=workers)
    assert unit.told("READY=1")["STATUS"] == "serving"
    with asking(unit) as answers:
        for version in ("two", "three", "four"):
            unit.write(version)
            done = unit.reload()
            assert (done.returncode, done.stderr) == (0, "")
            unit.told("RELOADING=1")
            assert unit.told("READY=1")["STATUS"].startswith("serving, generation ")
            answered(answers, version)
    assert unit.end() == 0
    unit.told("STOPPING=1")
    assert unit.senders == {unit.process.pid}  # NotifyAccess=main: the main process stays the same


def test_a_reload_says_when_it_began_and_hears_sighup_too(unit: Unit) -> None:
    unit.start()
    unit.told("READY=1")
    unit.write("two")
    before = time.monotonic_ns() // 1000
    unit.process.send_signal(signal.SIGHUP)
    begun = int(unit.told("RELOADING=1")["MONOTONIC_USEC"])
    assert before <= begun <= time.monotonic_ns() // 1000
    unit.told("READY=1")
    assert unit.ask().startswith("two")


def test_where_new_code_does_not_come_up_the_old_goes_on(unit: Unit) -> None:
    unit.start()
    unit.told("READY=1")
    first = unit.ask()
    cases = [
        ({"more": "1 / 0"}, "cannot import 'web': ZeroDivisionError"),
        ({"health": "503 No"}, "is not healthy: /health answers 503 No"),
        ({"more": "os.kill(os.getpid(), signal.SIGKILL)"}, "killed by SIGKILL"),
        ({"more": "os.kill(os.getpid(), 40)"}, "killed by signal 40"),
        ({"more": "os._exit(3)"}, "ended with exit code 3"),
    ]
    with asking(unit) as answers:
        for code, reason in cases:
            unit.write("two", **code)
            done = unit.reload()
            assert done.returncode == 1
            assert reason in done.stderr
            unit.told("RELOADING=1")
            status = unit.told("READY=1")["STATUS"]
            assert status.startswith(f"serving; not reloaded: {reason}")
            assert f"not reloaded, the running generation stays: {reason}" in unit.log.read_text()
        count = len(answers)
        eventually("more answers", lambda: len(answers) > count + 5)
    assert set(answers) == {first}
    unit.write("three")
    assert unit.reload().returncode == 0
    assert unit.ask().startswith("three")


def test_what_a_worker_writes_is_not_taken_for_its_back_end(unit: Unit) -> None:
    """The kernel says who writes; nobody but the process that the keeper started is heard."""
    unit.start(workers=2)
    unit.told("READY=1")
    unit.ask("/forge")
    assert unit.reload().returncode == 0
    assert unit.told("generation 2")["READY"] == "1"
    assert not [message for message in unit.heard if "forged" in message or "MAINPID" in message]


def test_what_the_old_generation_has_begun_is_finished_also_when_all_is_stopped(unit: Unit) -> None:
    unit.start()
    unit.told("READY=1")
    begun = unit.folder / "begun"
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(unit.ask("/sleep", str(begun))))
    thread.start()
    eventually("the request has begun", begun.exists)
    unit.write("two")
    assert unit.reload().returncode == 0
    assert unit.end() == 0
    thread.join(PATIENCE)
    assert answers[0].startswith("one")


BACK_END = """\
import os, signal, sys, time
from framework.process import linux
first, second, finished = sys.argv[1:]
is_first = not os.path.exists(first)
def end(*_):
    if is_first:
        time.sleep(1.0)
        open(finished, "w").close()
    else:
        os.write(3, b"READY=1")
    os._exit(0)
linux.parent_death_signal(signal.SIGKILL)
signal.signal(signal.SIGTERM, end)
if is_first:
    os.write(3, b"READY=1")
open(first if is_first else second, "w").close()
while True:
    time.sleep(60)
"""


def test_a_new_generation_that_is_ready_while_all_is_stopped_does_not_cut_what_the_old_one_finishes(
    tmp_path: Path,
) -> None:
    files = [tmp_path / name for name in ("first", "second", "finished")]
    command = (sys.executable, "-c", BACK_END, *map(str, files))
    program = (
        "import os, sys; from framework.process.keeper import Keeper; "
        "os.closerange(3, 20); "
        f"sys.exit(Keeper({command!r}, b'', (0, ''), dict(os.environ), '').run())"
    )
    keeper = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **interpreter_variables()})
    try:
        eventually("the first serves", files[0].exists)
        keeper.send_signal(signal.SIGHUP)
        eventually("the second starts", files[1].exists)
        keeper.terminate()
        assert keeper.wait(PATIENCE) == 0
    finally:
        keeper.kill()
        keeper.wait()
    assert files[2].exists()


def test_a_first_start_that_fails_ends_with_the_back_ends_exit_code(unit: Unit) -> None:
    unit.write("one", more="1 / 0")
    unit.start()
    message = unit.told("ERRNO")
    assert message["ERRNO"] == "78"
    assert "ZeroDivisionError" in message["STATUS"]
    assert unit.process.wait(PATIENCE) == 78


def test_a_back_end_that_dies_ends_its_keeper_for_systemd_to_start_it_again(unit: Unit) -> None:
    unit.start()
    unit.told("READY=1")
    with pytest.raises(Exception, match=r"."):
        unit.ask("/kill")
    assert unit.process.wait(PATIENCE) == 128 + signal.SIGKILL


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_outlives_a_keeper_that_is_killed(unit: Unit, workers: int) -> None:
    unit.start(workers=workers)
    unit.told("READY=1")
    _, worker, parent = unit.ask().split()
    unit.process.kill()
    unit.process.wait(PATIENCE)
    eventually("the back end has ended", lambda: not runs(int(worker)) and (workers == 1 or not runs(int(parent))))


@pytest.mark.parametrize("workers", [1, 2])
def test_signs_of_life_come_in_half_the_watchdogs_time(unit: Unit, workers: int) -> None:
    unit.start(workers=workers, environment={"WATCHDOG_USEC": "100000"})
    unit.told("READY=1")
    for _ in range(3):
        unit.told("WATCHDOG=1")
    _, worker, parent = unit.ask().split()
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert (int(parent) == unit.process.pid) == (workers == 1)  # no process for it alone
    assert worker in children
    assert unit.senders == {unit.process.pid}
    assert "WATCHDOG_USEC" not in unit.ask("/environment").split()


def test_a_back_end_without_a_keeper_gives_signs_of_life_too(unit: Unit) -> None:
    command = [sys.executable, "-P", "-s", "-m", "framework.process.backend", "web"]
    unit.start(*command, environment={"WATCHDOG_USEC": "100000"})
    unit.told("READY=1")
    for _ in range(3):
        unit.told("WATCHDOG=1")
    assert unit.senders == {unit.process.pid} == {int(unit.ask().split()[1])}


def test_a_stuck_call_gives_no_sign_of_life_and_the_watchdogs_signal_shows_where_it_is(unit: Unit) -> None:
    unit.start(environment={"WATCHDOG_USEC": "100000"})
    unit.told("READY=1")
    begun = unit.folder / "begun"
    thread = threading.Thread(target=lambda: suppressed(unit, "/stuck", str(begun)))
    thread.start()
    eventually("the request has begun", begun.exists)
    unit.process.send_signal(signal.SIGABRT)
    assert unit.process.wait(PATIENCE) == 128 + signal.SIGABRT
    log = unit.log.read_text()
    assert "no sign of life within the watchdog's time" in log
    thread.join(PATIENCE)
    assert re.search(r"code/web.py\", line \d+ in app", log)


def test_the_application_sees_nothing_of_it(unit: Unit) -> None:
    unit.start()
    unit.told("READY=1")
    unit.reload()
    names = unit.ask("/environment").split()
    assert not {"NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_USEC"} & set(names)


def test_only_a_process_of_the_same_user_has_it_reloaded(unit: Unit) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root, to be somebody else")
    unit.start()
    unit.told("READY=1")
    first = unit.ask()
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); "
        f"s.connect('\\0framework-keeper/{unit.process.pid}'); print(repr(s.recv(100)))"
    )
    done = run(["/usr/bin/python3", "-c", ask], user=65534, group=65534, extra_groups=[])
    if "ConnectionResetError" not in done.stderr:
        assert done.stdout == "b''\n", done.stderr
    assert unit.ask() == first


def test_a_keeper_without_a_listener_or_with_wrong_words_says_so() -> None:
    alone = run([*KEEPER, "web"])
    assert alone.returncode == 78
    assert "no listener was passed" in alone.stderr
    assert run(KEEPER).returncode == 2
    nobody = run([*KEEPER, "--reload", "999999999"])
    assert nobody.returncode == 1
    assert "takes no order to reload" in nobody.stderr
