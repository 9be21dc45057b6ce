"""flup's servers, the real ones and fastcore's, as processes for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import wire
from fcgi_server import read_to_end

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "support" / "flup_cases.py"


class FlupServer:
    """A program that serves over FastCGI until it is told to end; its socket is `<directory>/s` unless it says else."""

    def __init__(self, directory: Path, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.path = directory / "s"
        self.output_path = directory / "output"
        self.log_path = directory / "log"
        self._directory = directory
        self._command = list(command)
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join((str(ROOT), str(SCRIPT.parent)))}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0, host: str = "127.0.0.1", **popen: object) -> FlupServer:
        """Start it, and wait until somebody listens on its socket, or on `port` of `host`."""
        with open(self.output_path, "wb") as output, open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self._command],
                **{"stdin": subprocess.DEVNULL, **popen},
                cwd=self._directory,
                env=self._environment,
                stdout=output,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 20
        while not self._is_listening(host, port):
            assert self.process.poll() is None, f"it ended with {self.process.returncode}:\n{self.log}"
            assert time.monotonic() < end, f"nobody listens:\n{self.log}"
            time.sleep(0.02)
        return self

    def _is_listening(self, host: str, port: int) -> bool:
        family = socket.AF_UNIX if not port else socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            return probe.connect_ex((host, port) if port else str(self.path)) == 0

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(self.path))
        sock.settimeout(20)
        return sock

    def ask(self, case: str = "hello", body: bytes = b"", **parameters: str) -> wire.Answer:
        """One request on a connection of its own."""
        parameters = {"HTTP_CASE": case, "PATH_INFO": "/", **parameters}
        with self.connect() as sock:
            sock.sendall(wire.request(1, body, flags=0, **{k: v for k, v in parameters.items() if v is not None}))
            return wire.answer(read_to_end(sock))

    def end(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Send a signal and wait for the end; the last line of standard output."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(20)
        return self.output.splitlines()[-1] if self.output else ""

    def kill(self) -> None:
        """Whatever is left of it, its workers included."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def output(self) -> str:
        return self.output_path.read_text()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def wait_for(self, condition, what: str) -> None:
        """Look again and again until it is so."""
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"waited for {what}:\n{self.log}"
            time.sleep(0.02)


def cases_command(library: str, kind: str, **options: object) -> list[str]:
    """The command that serves tests/support/flup_cases.py on the socket `s`."""
    return [str(SCRIPT), library, kind, repr({"bindAddress": "s", **options})]
