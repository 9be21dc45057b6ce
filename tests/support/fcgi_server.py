"""A real server process for tests, and raw sockets to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import wire

ROOT = Path(__file__).resolve().parents[2]


class Server:
    """`python -m fastcore` with an application of tests/support/applications.py, on a unix socket of its own.

    With `listener`, a listening socket of any family, it is started as web servers do: with it as descriptor 0.
    With `passed`, name → listening socket, it is started as systemd does; `bind` says which of them it is to take.
    """

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str],
        application: str = "native",
        *options: str,
        listener: socket.socket | None = None,
        passed: Mapping[str, socket.socket] | None = None,
        bind: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.path = directory / "s"
        self.log_path = directory / "log"
        self.address = bind or ("fd:0" if listener else f"unix:{self.path}")
        self._listener = listener
        self._passed = passed or {}
        self._command = [sys.executable, "-m", "fastcore", "--bind", self.address]
        self._command += ["--interface", "native" if application.endswith("native") else "wsgi", *options]
        name = application if ":" in application else f"applications:{application}"
        self._command += ["--path", str(ROOT / "tests" / "support"), name]
        search = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []  # as make sanitize sets it
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join([*search, str(ROOT)]), **(variables or {})}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process without waiting for its socket."""
        fds = [sock.fileno() for sock in self._passed.values()]
        command = self._command
        if fds:
            activator = str(ROOT / "tests" / "support" / "activator.py")
            command = [sys.executable, activator, ",".join(map(str, fds)), ":".join(self._passed), *command]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                command,
                pass_fds=fds,
                env=self._environment,
                stdin=self._listener or subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Server:
        self.start()
        if self.address == f"unix:{self.path}":
            self.wait_for(lambda: self.path.exists(), "the socket")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait_for(self, condition, what: str, seconds: float = 30.0) -> None:
        """Look again and again until it is so; fail with the log where it never is."""
        end = time.monotonic() + seconds
        while not condition():
            assert self.process is not None
            if self.process.poll() is not None and what == "the socket":
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log}")
            if time.monotonic() > end:
                raise AssertionError(f"waited {seconds:g} s for {what}:\n{self.log}")
            time.sleep(0.01)

    def connect(self, timeout: float = 30.0) -> socket.socket:
        listener = self._listener
        sock = socket.socket(listener.family if listener else socket.AF_UNIX, socket.SOCK_STREAM)
        sock.connect(listener.getsockname() if listener else str(self.path))  # waits where the queue is full
        sock.settimeout(timeout)
        return sock

    def ask(self, data: bytes = b"", **parameters: str) -> wire.Answer:
        """One request on a connection of its own."""
        with self.connect() as sock:
            sock.sendall(data or wire.request(flags=0, **parameters))
            return wire.answer(read_to_end(sock))

    def settle(self) -> None:
        """Wait until the server serves, so that what it has open now is what it keeps open."""
        self.ask(PATH_INFO="/")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))


def read_to_end(sock: socket.socket) -> bytes:
    """All bytes until the server closes."""
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def read_answer(sock: socket.socket, request_id: int = 1) -> wire.Answer:
    """The answer to one request of a connection that stays open; the other ids' records are dropped."""
    data = b""
    found = []
    while not any(record.type == wire.END and record.id == request_id for record in found):
        part = sock.recv(1 << 20)
        assert part, f"closed before the end of the answer: {found!r}"
        data += part
        while len(data) >= 8 and len(data) >= 8 + (length := int.from_bytes(data[4:6], "big")) + data[6]:
            end = 8 + length + data[6]
            found += wire.records(data[:end])
            data = data[end:]
    return wire.answer(found, request_id)


def read_records(sock: socket.socket, count: int) -> list[wire.Record]:
    """So many whole records; nothing may follow them yet."""
    data = b""
    while len(found := whole_records(data)) < count:
        part = sock.recv(1 << 16)
        assert part, f"closed after {found!r}"
        data += part
    assert wire.records(data) == found
    return found


def whole_records(data: bytes) -> list[wire.Record]:
    """The records of `data` that are complete; a last one may be cut off."""
    end = 0
    while len(data) >= end + 8:
        size = 8 + int.from_bytes(data[end + 4 : end + 6], "big") + data[end + 6]
        if len(data) < end + size:
            break
        end += size
    return wire.records(data[:end])


def is_cut_off(sock: socket.socket, data: bytes, *, times: int, pause: float = 0.0) -> bool:
    """Whether the server closes the connection while the same bytes are sent again and again."""
    for _ in range(times):
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return True
        time.sleep(pause)
    return False


def children(pid: int) -> list[int]:
    """The process ids of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def pending(pid: int) -> bool:
    """Whether a signal sent to the process waits to be taken: a second one of its number would be lost."""
    try:
        with open(f"/proc/{pid}/status") as status:
            found = dict(line.split(":", 1) for line in status)
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return False
    return bool(int(found["ShdPnd"], 16) | int(found["SigPnd"], 16))


def is_asleep(pid: int) -> bool:
    """Whether the process waits for something."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "S"
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return False


def is_closed(sock: socket.socket) -> bool:
    """Whether the peer has closed without a further byte."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
