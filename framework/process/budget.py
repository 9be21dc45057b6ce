"""The memory budget of a site: idle workers end, the largest first, before its processes use more than they may.

What counts is the proportional set size (PSS, proc_pid_smaps_rollup(5)) of the supervisor, the front end, and all in
the sessions of the back ends. It is read once a minute, and every ten seconds above four fifths of the budget; where
no request has come since the last look nothing is read. Which process belongs to a back end is asked of the kernel;
that it is idle is what it says itself: one that lies is told to end in vain.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastcore.values import dataclass
from framework.process.memory import memory_of
from framework.process.ondemand import idle_seconds
from framework.process.runfiles import processes, stat_fields

if TYPE_CHECKING:
    from framework.process.child import Child
    from framework.process.supervisor import Supervisor

__all__ = ["Budget", "Candidate", "choose"]

LOOK_SECONDS = 60.0
CLOSE_LOOK_SECONDS = 10.0
HIGH, LOW = 0.9, 0.8
"""Parts of the budget: above the one idle workers end, until it is below the other."""

FRESH_SECONDS = 1.0
"""How old a measurement may be with which a status is answered: whoever asks often has it made no oftener."""

GROWN = 1.25
"""How much larger than at the first look a worker is that would be replaced at once, so that this wins something."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be ended: its name for people, the bytes that this gives back, and how it is done."""

    what: str
    size: int
    end: Callable[[], object]


def choose(candidates: list[Candidate], used: int, limit: int) -> list[Candidate]:
    """Those that have to end so that less than LOW of the limit is used, the largest first; none below HIGH."""
    chosen: list[Candidate] = []
    if used >= HIGH * limit:
        for each in sorted(candidates, key=lambda candidate: -candidate.size):
            if used < LOW * limit:
                break
            chosen.append(each)
            used -= each.size
    return chosen


class Budget:
    """The memory budget of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._due = 0.0
        self._used = 0
        self._measured, self._measured_at = 0, -FRESH_SECONDS
        self._ended = 0
        self._note = ""
        self._requests: dict[str, int] = {}
        self._first_sizes: dict[int, int] = {}  # pid → bytes when it was first looked at

    def next_event(self) -> float | None:
        """When to look next; None where there is no budget."""
        return self._due if self._supervisor.site.memory and self._supervisor.announced else None

    def act(self, now: float) -> None:
        """Look where it is time to."""
        due = self.next_event()
        if due is not None and now >= due:
            self.look(now)

    def look(self, now: float, *, always: bool = False) -> None:
        """See how much is used, and end what is idle where that is too much; `always`: even if no request has come."""
        limit = self._supervisor.site.memory
        if not limit:
            return
        requests = {
            f"{child.name} {child.health.pid}": sum(worker.requests for worker in child.workers())
            for child in self._supervisor.everyone()
        }
        if requests != self._requests or always or self._used >= LOW * limit:
            self._requests = requests
            sizes = self._measure()
            self._used = sum(sizes.values())
            self._make_room(sizes, limit)
        self._due = now + (CLOSE_LOOK_SECONDS if self._used >= LOW * limit else LOOK_SECONDS)

    def describe(self) -> dict[str, Any] | None:
        """For the status, JSON-able; None where there is no budget."""
        limit = self._supervisor.site.memory
        if not limit:
            return None
        if time.monotonic() - self._measured_at >= FRESH_SECONDS:
            self._measure()
        return {"limit": limit, "used": self._measured, "ended": self._ended, "note": self._note}

    def _measure(self) -> dict[int, int]:
        """pid → bytes of all processes of the site."""
        sessions = {child.health.pid for child in self._supervisor.everyone()}
        mine = [pid for pid, session, _, _ in processes() if session in sessions or pid == os.getpid()]
        sizes = {pid: memory_of([pid])["pss"] or 0 for pid in mine}
        self._measured, self._measured_at = sum(sizes.values()), time.monotonic()
        self._first_sizes = {pid: self._first_sizes.get(pid, size) for pid, size in sizes.items()}
        return sizes

    def _make_room(self, sizes: dict[int, int], limit: int) -> None:
        chosen = choose(list(self._candidates(sizes)), self._used, limit)
        for each in chosen:
            each.end()
            self._ended += 1
            self._supervisor.say(
                f"{_of(self._used, limit)} of memory are used: {each.what} ends, {_mib(each.size)} MiB"
            )
        left = self._used - sum(each.size for each in chosen)
        note = "used up, and nothing idle that could end" if left >= limit else ""
        if note and note != self._note:
            self._supervisor.say(f"memory: {_of(left, limit)} {note}")
        self._note = note

    def _candidates(self, sizes: dict[int, int]) -> Iterator[Candidate]:
        for child in self._supervisor.children:
            backend = self._supervisor.site.backends.get(child.name)
            if child.part.kind != "backend" or backend is None or child.health.state != "ready":
                continue
            workers = child.workers()
            members = {pid for pid in sizes if _session_of(pid) == child.health.pid}
            idle = {worker.pid for worker in workers if worker.state == "idle"} & members
            if backend.processes == "ondemand" and idle_seconds(workers):
                size = sum(sizes[pid] for pid in members)
                yield Candidate(f"idle back end {child.name}", size, self._sleep(child))
                continue
            least = backend.min_workers if backend.processes == "dynamic" else 1
            surplus = 0 if backend.processes == "static" else max(len(workers) - least, 0)
            for pid in sorted(idle, key=lambda pid: -sizes[pid]):
                grown = sizes[pid] - self._first_sizes[pid]
                what = f"idle worker {pid} of {child.name}"
                if surplus:
                    surplus -= 1
                    yield Candidate(what, sizes[pid], self._end(child, pid))
                elif sizes[pid] > GROWN * self._first_sizes[pid]:
                    yield Candidate(f"{what}, for a fresh one,", grown, self._end(child, pid))

    def _sleep(self, child: Child) -> Callable[[], object]:
        return lambda: self._supervisor.ondemand.send_to_sleep(child)

    def _end(self, child: Child, pid: int) -> Callable[[], object]:
        """A worker that has a parent is ended alone; a back end that is one process is replaced."""
        if pid == child.health.pid:
            return lambda: self._supervisor.start(self._supervisor.ondemand.replace(child))
        return lambda: _terminate(pid, child.health.pid)


def _terminate(pid: int, session: int) -> None:
    """SIGTERM to a process of that session: another one can have its number by now."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _session_of(pid) == session:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
    except OSError:
        pass
    finally:
        os.close(handle)


def _session_of(pid: int) -> int:
    fields = stat_fields(pid)
    return int(fields[3]) if fields else 0


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"


def _of(used: int, limit: int) -> str:
    return f"{_mib(used)} of {_mib(limit)} MiB"
