"""Servers started for a measurement, and ended with everything that they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from peers import Peer
from toolchain import Missing

START_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")
PROCESS_CLOCK = 2
"""The kernel's CPUCLOCK_SCHED: the clock of a process is (~pid << 3) | 2."""


class Program:
    """A running program that listens on a unix socket in a directory of its own, with all that it starts.

    With `processor`, it and its children run on that one only. A subclass says what is started.
    """

    inherits = False
    """Whether it gets the listening socket as descriptor 0."""

    def __init__(self, processor: int | None = None, wrapper: tuple[str, ...] = ()) -> None:
        self._processor = processor
        self._wrapper = wrapper
        self._directory = tempfile.TemporaryDirectory(prefix="bench-")
        self.directory = Path(self._directory.name)
        self.path = self.directory / "s"
        self._log = self.directory / "log"

    def command(self) -> list[str]:
        """The program and its arguments. Raises Missing with what is not there."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """What is added to the environment."""
        return {}

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"unix:{self.path}"

    def __enter__(self) -> Self:
        try:
            self.start()
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def end(self) -> None:
        """Tell it to end, and wait for that; the log stays until `stop`."""
        self.process.terminate()
        self.process.wait(120)

    def stop(self) -> None:
        """End it and its children at once, and remove its directory."""
        process = getattr(self, "process", None)
        if process is not None:
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        self._directory.cleanup()

    def cpu_seconds(self) -> float:
        """Processor time of its processes: what the running ones have used, ended threads included, to the nanosecond
        (clock_getcpuclockid(3)); what their ended children have, to 1/100 s (proc_pid_stat(5)).
        """
        total = 0.0
        for pid in self.pids():
            with suppress(OSError):  # it has ended meanwhile
                total += time.clock_gettime((~pid << 3) | PROCESS_CLOCK) + _seconds_of_ended_children(pid)
        return total

    def pids(self) -> list[int]:
        """Its processes: those of its session, as some servers give their workers process groups."""
        found = []
        for name in os.listdir("/proc"):
            with suppress(ValueError, OSError):
                if os.getsid(int(name)) == self.process.pid:
                    found.append(int(name))
        return found

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        """Start it, and do not wait until it listens."""
        pinned = ("taskset", "-c", str(self._processor)) if self._processor is not None else ()
        command = [*pinned, *self._wrapper, *self.command()]
        listener = None
        if self.inherits:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self.path))
            listener.listen(1024)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                stdin=listener if listener is not None else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONHASHSEED": "0", **self.environment()},
                start_new_session=True,
                cwd=self._directory.name,
            )
        if listener is not None:
            listener.close()

    def _wait(self) -> None:
        give_up = time.monotonic() + START_SECONDS * (10 if self._wrapper else 1)
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(self.path)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() > give_up:
                last = self.log().strip().splitlines()[-1:] or ["it printed nothing"]
                raise Missing(f"it does not start: {last[0][:200]}")
            time.sleep(0.02)


class Server(Program):
    """One running peer."""

    def __init__(self, peer: Peer, processor: int | None = None, wrapper: tuple[str, ...] = ()) -> None:
        super().__init__(processor, wrapper)
        self.peer = peer
        self.inherits = peer.inherits

    def command(self) -> list[str]:
        """The peer's, for its socket."""
        return self.peer.command(self.path)

    def environment(self) -> dict[str, str]:
        """The peer's."""
        return self.peer.environment


def _seconds_of_ended_children(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS
