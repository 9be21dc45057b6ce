"""Back ends that cost no process while nobody asks for them: when one goes to sleep, when it wakes.

While it is asleep its listener is watched, never accepted from; the first connection wakes it. An awake one whose
workers say that they have been idle for `idle_exit` is replaced by one that is asleep, and finishes what it has begun;
what comes meanwhile waits in the listener and wakes the new one. That all are idle is what they say themselves: one
that lies stays awake, or falls asleep.

Each is started once when the rest of the site is up, one after another, so that a mistake shows and its URLs are known
to the others; then it goes to sleep at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastcore.scoreboard import Worker
    from framework.process.child import Child
    from framework.process.supervisor import Supervisor

__all__ = ["OnDemand", "idle_seconds"]

DRAIN_SECONDS = 600.0
"""How long what was begun just when it was sent to sleep may take: nobody waits for its end."""

FIRST_LOOK = 0.2
"""Seconds between looks whether one that was started to show that it can be has become idle."""


def idle_seconds(workers: Iterable[Worker]) -> float:
    """For how long all of these workers have had nothing to do; 0 where one has, or there is none.

    An open connection that brings nothing (nginx keeps some) is nothing to do: it is closed with the worker.
    """
    spans = [worker.seconds if worker.state == "idle" else 0.0 for worker in workers]
    return min(spans, default=0.0)


class OnDemand:
    """The back ends on demand of one supervisor."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._untried: set[str] = set()
        self._numbers = count(1)

    def put_to_sleep(self, child: Child) -> bool:
        """At the start of the site: True where it has no process for now."""
        if not self._idle_exit(child):
            return False
        self._untried.add(child.name)
        self._lie_down(child)
        return True

    def next_event(self) -> float | None:
        """When to look next whether one is idle; None while all are asleep."""
        awake = [child for child in self._supervisor.children if child.health.state == "ready"]
        return min((child.idle_look for child in awake if self._idle_exit(child)), default=None)

    def act(self, now: float) -> None:
        """Send to sleep who has been idle for long enough; start the next that has never been started."""
        for child in list(self._supervisor.children):
            idle_exit = self._idle_exit(child)
            if idle_exit and child.health.state == "ready" and now >= child.idle_look:
                self._consider(child, idle_exit, now)
        if self._untried and self._supervisor.announced:
            self._try_next()

    def _idle_exit(self, child: Child) -> int:
        """Seconds without a request after which a back end goes to sleep; 0 for never."""
        backend = self._supervisor.site.backends.get(child.name) if child.part.kind == "backend" else None
        return backend.idle_exit if backend is not None and backend.processes == "ondemand" else 0

    def _try_next(self) -> None:
        """One at a time, so that they do not need the memory of all at once."""
        mine = [child for child in self._supervisor.children if self._idle_exit(child)]
        if any(child.health.running and not child.was_woken for child in mine):
            return
        self._untried &= {child.name for child in mine if child.health.state == "asleep"}
        for child in mine:
            if child.name in self._untried:
                self._untried.remove(child.name)
                self._supervisor.listeners.forget(child.name)
                self._supervisor.start(child)
                return

    def _consider(self, child: Child, idle_exit: int, now: float) -> None:
        """At once where nobody has asked for it yet."""
        workers = child.workers()
        idle = idle_seconds(workers)
        asked_for = child.was_woken or any(worker.requests for worker in workers)
        if idle >= idle_exit or (idle and not asked_for):
            self.send_to_sleep(child)
        else:
            child.idle_look = now + (max(idle_exit - idle, 0.0) + FIRST_LOOK if asked_for else FIRST_LOOK)

    def send_to_sleep(self, child: Child) -> None:
        """Put one that is asleep in its place; it finishes what it has begun beside that."""
        self._lie_down(self.replace(child))

    def replace(self, child: Child) -> Child:
        """Another child in its place, not started yet; this one finishes what it has begun."""
        supervisor = self._supervisor
        successor = supervisor.new_child(child.part)
        successor.generation, successor.was_woken = child.generation, True
        successor.health.restarts, successor.health.last_error = child.health.restarts, child.health.last_error
        successor.socket_name = f"{child.name}.again{next(self._numbers)}.sock"
        supervisor.children[supervisor.children.index(child)] = successor
        supervisor.retire(child, DRAIN_SECONDS)
        return successor

    def _lie_down(self, child: Child) -> None:
        child.health.fell_asleep(time.time())
        self._supervisor.listener_of(child)
        self._supervisor.listeners.on_connection(child.name, lambda: self._wake(child))

    def _wake(self, child: Child) -> None:
        """A connection waits for it."""
        if child.health.state == "asleep":
            child.was_woken = True
            self._supervisor.budget.look(time.monotonic(), always=True)
            self._supervisor.start(child)
