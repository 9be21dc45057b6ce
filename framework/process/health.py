"""The health of one child: its state, and when it is started again. No processes here; time comes as an argument.

States: waiting (before its start) → starting → ready → stopping → stopped, or asleep (on demand) → starting; from
starting or ready, by an end that nobody ordered, to waiting (a short back-off) or failed (a long rest, because it
cannot work as it is or has failed too often).
"""

from __future__ import annotations

import signal
from collections import deque

from fastcore.values import dataclass, field

__all__ = ["Health", "describe_exit"]

FIRST_DELAY = 0.25
LONGEST_DELAY = 30.0
"""Seconds of back-off after the first failure, doubled with each, up to the longest."""

THRESHOLD = 10
"""Failures in a row after which a child rests."""

REST = 300.0
CONFIGURATION_REST = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds between attempts with an application that cannot be imported: somebody has to change something first."""

STABLE = 60.0
"""Seconds of being ready after which earlier failures no longer count."""

START_TIMEOUT = 60.0
LAST_LINES = 5
WELL = ("ready", "asleep")
"""States of a child that does what it should."""
EXITS_OF_CONFIGURATION = (77, 78)


@dataclass(slots=True)
class Health:
    """How a child is and has been. Times are seconds of a steady clock, `since` of the wall clock."""

    state: str = "waiting"
    since: float = 0.0
    pid: int = 0
    ready_at: float = 0.0
    next_start: float = 0.0
    deadline: float = 0.0
    restarts: int = 0
    failures: int = 0
    status: str = ""
    complaint: str = ""
    last_error: str = ""
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))

    def enter(self, state: str, wall: float) -> None:
        self.state, self.since = state, wall

    def started(self, pid: int, now: float, wall: float) -> None:
        """The child has become its program."""
        self.pid, self.deadline = pid, now + START_TIMEOUT
        self.complaint = self.status = ""
        self.enter("starting", wall)

    def fell_asleep(self, wall: float) -> None:
        """It has no process until somebody asks for it."""
        self.enter("asleep", wall)

    def became_ready(self, now: float, wall: float) -> None:
        self.ready_at, self.deadline = now, 0.0
        self.enter("ready", wall)

    def ended(self, exit_status: int, now: float, wall: float) -> float:
        """The child ended although nobody ordered it. Returns the seconds until it is started again."""
        if self.state == "ready" and now - self.ready_at >= STABLE:
            self.failures = 0
        self.failures += 1
        self.restarts += 1
        self.last_error = self._reason(exit_status)
        self.pid, self.deadline, self.ready_at = 0, 0.0, 0.0
        delay, state = self._delay(exit_status)
        self.next_start = now + delay
        self.enter(state, wall)
        return delay

    def _delay(self, exit_status: int) -> tuple[float, str]:
        if exit_status in EXITS_OF_CONFIGURATION:
            return CONFIGURATION_REST[min(self.failures, len(CONFIGURATION_REST)) - 1], "failed"
        if self.failures >= THRESHOLD:
            return REST, "failed"
        return min(LONGEST_DELAY, FIRST_DELAY * 2 ** (self.failures - 1)), "waiting"

    def _reason(self, exit_status: int) -> str:
        if self.complaint:
            return self.complaint
        last = f": {self.lines[-1]}" if self.lines else ""
        return describe_exit(exit_status) + last

    @property
    def resting(self) -> bool:
        """Not running, and to be started when `next_start` comes."""
        return self.state in ("waiting", "failed")

    @property
    def next_event(self) -> float | None:
        """When something is due for it: its start or the end of its time; None while all is well."""
        if self.resting:
            return self.next_start
        return self.deadline or None

    @property
    def is_well(self) -> bool:
        """It does what it should: serves, or is asleep until somebody asks."""
        return self.state in WELL

    @property
    def running(self) -> bool:
        return self.state in ("starting", "ready", "stopping")


def describe_exit(status: int) -> str:
    """An exit code as waitstatus_to_exitcode gives it, for people.

    >>> describe_exit(-9)
    'killed by SIGKILL'
    """
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
