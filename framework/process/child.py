"""One running child of the supervisor: its start, its descriptors, and what comes out of them.

Nothing that a child writes is believed: output is bounded and made printable, a message counts only from the pid
that was started, the URL table is bytes of bounded length that nobody here reads. When it is started and ended is
the supervisor's decision.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fastcore import scoreboard
from framework.process.counts import Counts
from framework.process.health import Health
from framework.process.launcher import Launch, start
from framework.process.logs import LineBuffer, Output, RateLimit, level_of
from framework.process.notify import Receiver
from framework.process.parts import Part
from framework.process.proof import read_status
from framework.process.runfiles import kill_session, write_file
from framework.process.spec import MAX_TABLE_BYTES

__all__ = ["Child"]

READ_BYTES = 65536
MAX_LAST_READS = 64
"""How many READ_BYTES are still read from a child that has ended: its last words, not those of a flood."""

Watch = Callable[[int, Callable[[], object]], None]
Unwatch = Callable[[int], None]


class Child:
    """A part of the site with its health. `watch` and `unwatch` register descriptors with the supervisor's loop.

    counts  those of the part, which its other processes, before, beside and after this one, share
    """

    def __init__(
        self, part: Part, output: Output, watch: Watch, unwatch: Unwatch, counts: Counts | None = None
    ) -> None:
        self.part = part
        self.name = part.name
        self.generation = 1
        self.socket_name = f"{part.name}.sock"
        self.idle_look = 0.0  # when to look again whether it has become idle, on the steady clock
        self.was_woken = False  # by a connection; else it is there to show that it can be
        self.health = Health(since=time.time())
        self._output = output
        self._watch = watch
        self._unwatch = unwatch
        self._buffers: dict[int, LineBuffer] = {}
        self._rate = RateLimit(time.monotonic(), part.log_rate)
        self._who: dict[int, str] = {}  # "status", or "status/0" for a worker
        self._usual: dict[int, str] = {}  # levels of the streams, and of the line before
        self._levels: dict[int, str] = {}
        self._receiver: Receiver | None = None
        self._table_path: Path | None = None
        self._table_fd = -1
        self._table = b""
        self._scoreboard = -1
        self._counts = Counts() if counts is None else counts

    # ---- start and end

    def start(self, launch: Launch) -> None:
        """Start the process. Raises LaunchError and OSError."""
        started = start(launch)
        self.health.started(started.pid, time.monotonic(), time.time())
        for number, level in ((started.output, "info"), (started.errors, "warning")):
            self._watch_output(number, self.name, level)

    def open_outputs(self, workers: int) -> list[int]:
        """Make the pipes for what each of so many workers prints, two for each; returns the ends for the child.

        Raises OSError; then no end for the child is open.
        """
        ends = []
        try:
            for worker in range(workers):
                for level in ("info", "warning"):
                    reader, writer = os.pipe()
                    ends.append(writer)
                    os.set_blocking(reader, False)
                    self._watch_output(reader, f"{self.name}/{worker}", level)
        except OSError:
            for writer in ends:
                os.close(writer)
            raise
        return ends

    def _watch_output(self, number: int, name: str, level: str) -> None:
        self._buffers[number] = LineBuffer()
        self._who[number] = name
        self._usual[number] = self._levels[number] = level
        self._watch(number, partial(self._read_output, number))

    def open_notify(self, path: Path) -> str:
        """Make the socket for its messages; returns the value of NOTIFY_SOCKET."""
        self._receiver = Receiver(str(path), self.part.privileges.uid, self.part.privileges.gid)
        self._watch(self._receiver.fileno(), self._read_messages)
        return str(path)

    def expect_table(self, path: Path) -> int:
        """Make the pipe for its URL table, which goes to `path` when it is complete; returns the end for the child."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self._table_path, self._table_fd, self._table = path, reader, b""
        self._watch(reader, self._read_table)
        return writer

    def open_scoreboard(self, workers: int) -> int:
        """Make the memory in which its workers tell what they do; returns its descriptor, which stays ours."""
        self._close_scoreboard()
        self._scoreboard = scoreboard.create(workers)
        self._counts.add(self._scoreboard)
        return self._scoreboard

    def move_table(self, path: Path) -> None:
        """From now on its URL table belongs there; what has come already goes there."""
        old, self._table_path = self._table_path, path
        if old is not None and old.exists():
            os.replace(old, path)

    def workers(self) -> list[scoreboard.Worker]:
        """What its workers say of themselves."""
        return scoreboard.read(self._scoreboard) if self._scoreboard >= 0 else []

    def signal(self, number: signal.Signals) -> None:
        """A signal to the process itself, which passes it on to its own as it sees fit.

        The first of a pid namespace does not notice what it has no handler for yet (pid_namespaces(7)): it is ended, as
        others are by such a signal.
        """
        if self.health.pid:
            if self.part.contained and not _catches(self.health.pid, number):
                number = signal.SIGKILL
            try:
                os.kill(self.health.pid, number)
            except ProcessLookupError:
                pass

    def kill(self) -> None:
        """End the process and everything in its session at once."""
        if self.health.pid:
            self.signal(signal.SIGKILL)
            kill_session(self.health.pid)

    def close(self) -> None:
        """Read the last words, then give all descriptors back. For a child that has ended, with its session."""
        for number in list(self._buffers):
            for _ in range(MAX_LAST_READS):
                if not self._read_output(number):
                    break
            self._close_output(number)
        self._tell_dropped()
        if self._receiver is not None:
            self._read_messages()
            self._unwatch(self._receiver.fileno())
            self._receiver.close()
            self._receiver = None
        self._close_table()
        self._close_scoreboard()

    # ---- what comes out of it

    def _read_output(self, number: int) -> bool:
        """Take what is there; False when nothing more comes now."""
        buffer = self._buffers.get(number)
        if buffer is None:
            return False
        try:
            data = os.read(number, READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._close_output(number)
            return False
        for line in buffer.feed(data):
            self._print(number, line)
        return True

    def _close_output(self, number: int) -> None:
        buffer = self._buffers.pop(number, None)
        if buffer is not None:
            for line in buffer.flush():
                self._print(number, line)
            self._unwatch(number)
            os.close(number)

    def _print(self, number: int, line: str) -> None:
        level, text = level_of(line, self._usual[number], self._levels[number])
        self._levels[number] = level
        if self._rate.take(time.monotonic()):
            self._tell_dropped()
            self.health.lines.append(text)
            self._output.write(self._who[number], self.health.pid, text, level)
        else:
            self._counts.lines_dropped += 1

    def _tell_dropped(self) -> None:
        dropped = self._rate.take_dropped()
        if dropped:
            text = f"({dropped} lines dropped: more than its share of this log)"
            self._output.write(self.name, self.health.pid, text, "warning")

    def _read_messages(self) -> None:
        if self._receiver is None:
            return
        for pid, message in self._receiver.messages():
            if pid == self.health.pid:
                self._take_message(message)

    def _take_message(self, message: Mapping[str, str]) -> None:
        self.health.status = message.get("STATUS", self.health.status)
        if "ERRNO" in message:
            self.health.complaint = self.health.status
        if message.get("READY") == "1" and self.health.state == "starting":
            self.health.became_ready(time.monotonic(), time.time())

    def _read_table(self) -> None:
        try:
            data = os.read(self._table_fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._table += data
            if len(self._table) > MAX_TABLE_BYTES:
                self._output.write(
                    self.name, self.health.pid, f"its URL table is larger than {MAX_TABLE_BYTES} bytes: not taken"
                )
                self._close_table()
            return
        if self._table and self._table_path is not None:
            try:
                write_file(self._table_path, self._table)
            except OSError as error:
                self._output.write(self.name, self.health.pid, f"its URL table is not kept: {error}")
        self._close_table()

    def _close_table(self) -> None:
        if self._table_fd >= 0:
            self._unwatch(self._table_fd)
            os.close(self._table_fd)
        self._table_fd, self._table = -1, b""

    def _close_scoreboard(self) -> None:
        if self._scoreboard >= 0:
            self._counts.remove(self._scoreboard)
            os.close(self._scoreboard)
        self._scoreboard = -1

    # ---- for sitectl status

    def describe(self) -> dict[str, Any]:
        """What is known of it, JSON-able."""
        health = self.health
        return {
            "name": self.name,
            "kind": self.part.kind,
            "user": self.part.privileges.user,
            "group": self.part.privileges.group,
            "uid": self.part.privileges.uid,
            "where": self.part.where,
            "pid": health.pid or None,
            "state": health.state,
            "since": round(health.since, 3),
            "restarts": health.restarts,
            "generation": self.generation,
            "status": health.status,
            "last_error": health.last_error,
            "last_lines": list(health.lines) if health.last_error else [],
            "log_dropped": self._counts.lines_dropped,
            "view": list(self.part.view.covers) if self.part.view is not None else [],
            **traffic_of(scoreboard.read(self._scoreboard, ended=True) if self._scoreboard >= 0 else [], self._counts),
        }


def _catches(pid: int, number: int) -> bool:
    try:
        return bool(int(read_status(pid)["SigCgt"], 16) >> (number - 1) & 1)
    except (OSError, KeyError):  # it has ended
        return False


def traffic_of(workers: list[scoreboard.Worker], counts: Counts) -> dict[str, Any]:
    """What the workers of a back end say of themselves, each and together, JSON-able; times are in seconds.

    "requests" and "latencies" are of all its processes since the site was started, the rest of those that run.
    """
    latencies = scoreboard.add_up(worker.latencies for worker in workers)
    requests, all_latencies = counts.read()
    workers = [worker for worker in workers if worker.state != "none"]
    return {
        "busy": sum(worker.state in scoreboard.BUSY for worker in workers),
        "requests": requests,
        "rate": round(sum(worker.rate for worker in workers), 3),
        "p50": scoreboard.quantile(latencies, 0.5),
        "p99": scoreboard.quantile(latencies, 0.99),
        "latencies": [[scoreboard.bucket_limit(index), count] for index, count in enumerate(all_latencies) if count],
        "workers": [
            {
                "number": worker.number,
                "pid": worker.pid,
                "state": worker.state,
                "seconds": round(worker.seconds, 3),
                "age": round(worker.age, 3),
                "connections": worker.connections,
                "requests": worker.requests,
                "rate": round(worker.rate, 3),
                "url": worker.url,
            }
            for worker in workers
        ],
    }
