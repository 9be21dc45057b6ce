"""Rates out of counters: what the machine did between two looks.

A look is taken when somebody asks, never in the background (a console that nobody watches costs nothing), and one look
serves all who ask within `MIN_INTERVAL` seconds. The last looks are kept for the charts, `MAX_POINTS` at most.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from appliance.proc import TICKS_PER_SECOND, CpuTimes, Disk, Load, Machine, Memory, Process, Temperature, Traffic
from fastcore.values import dataclass

MIN_INTERVAL = 0.5
MAX_POINTS = 150
MAX_POINT_AGE = 300.0


@dataclass(frozen=True, slots=True)
class Point:
    """What the charts draw. `time` in seconds since the epoch; shares in percent; rates in bytes a second."""

    time: float
    cpu: float
    memory: float
    received: float
    sent: float


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface: rates in bytes a second, totals in bytes."""

    name: str
    received_rate: float
    sent_rate: float
    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class Figures:
    """One look. `cpu` and `cores` in percent since the look before, `uptime` in seconds."""

    time: float
    cpu: float
    cores: tuple[float, ...]
    memory: Memory
    load: Load
    uptime: float
    interfaces: tuple[Interface, ...]
    disks: tuple[Disk, ...]
    temperatures: tuple[Temperature, ...]

    @property
    def memory_share(self) -> float:
        return share(self.memory.used, self.memory.total)


@dataclass(frozen=True, slots=True)
class Running:
    """A process and its share of one processor, in percent."""

    process: Process
    cpu: float


@dataclass(frozen=True, slots=True)
class _Counters:
    at: float
    cpu: dict[str, CpuTimes]
    traffic: dict[str, Traffic]


class Sampler:
    """Looks at one machine. The first look tells the mean since boot, as there is nothing to compare with.

    `clock` counts seconds and never goes back.
    """

    def __init__(self, machine: Machine, clock: Callable[[], float] = time.monotonic) -> None:
        self.machine = machine
        self._clock = clock
        self._counters: _Counters | None = None
        self._figures: Figures | None = None
        self._points: deque[Point] = deque(maxlen=MAX_POINTS)
        self._ticks: dict[tuple[int, int], int] = {}
        self._processes_at: float | None = None
        self._running: list[Running] = []

    def figures(self) -> Figures:
        """The figures of now, at most `MIN_INTERVAL` seconds old."""
        now = self._clock()
        if self._figures is not None and self._counters is not None and now - self._counters.at < MIN_INTERVAL:
            return self._figures
        is_first = self._counters is None
        figures = self._look(now)
        self._figures = figures
        if is_first:
            return figures
        self._points.append(
            Point(
                figures.time,
                figures.cpu,
                figures.memory_share,
                sum(interface.received_rate for interface in figures.interfaces),
                sum(interface.sent_rate for interface in figures.interfaces),
            )
        )
        return figures

    def points(self) -> list[Point]:
        """The last looks but the very first, oldest first, none older than `MAX_POINT_AGE` seconds."""
        latest = self.figures().time
        return [point for point in self._points if latest - MAX_POINT_AGE <= point.time <= latest]

    def running(self) -> list[Running]:
        """All processes with what they used since the look before; a new one since its start."""
        now = self._clock()
        if self._processes_at is not None and now - self._processes_at < MIN_INTERVAL:
            return self._running
        elapsed = now - self._processes_at if self._processes_at is not None else None
        uptime = self.machine.uptime()
        processes = self.machine.processes()
        self._running = [Running(process, self._process_share(process, elapsed, uptime)) for process in processes]
        self._ticks = {(process.pid, process.started): process.ticks for process in processes}
        self._processes_at = now
        return self._running

    def _process_share(self, process: Process, elapsed: float | None, uptime: float) -> float:
        before = self._ticks.get((process.pid, process.started))
        lived = max(uptime - process.started / TICKS_PER_SECOND, 1 / TICKS_PER_SECOND)
        ticks, seconds = (
            (process.ticks, lived) if before is None or elapsed is None else (process.ticks - before, elapsed)
        )
        return max(0.0, 100 * ticks / TICKS_PER_SECOND / seconds)

    def _look(self, now: float) -> Figures:
        machine = self.machine
        before = self._counters
        uptime = machine.uptime()
        counters = _Counters(now, machine.cpu(), machine.traffic())
        self._counters = counters
        shares = {
            name: _cpu_share(times, before.cpu.get(name) if before else None) for name, times in counters.cpu.items()
        }
        elapsed = now - before.at if before else max(uptime, 1.0)
        return Figures(
            time=time.time(),
            cpu=shares.get("cpu", 0.0),
            cores=tuple(share for name, share in shares.items() if name != "cpu"),
            memory=machine.memory(),
            load=machine.load(),
            uptime=uptime,
            interfaces=tuple(
                _interface(name, traffic, before.traffic.get(name) if before else Traffic(0, 0), elapsed)
                for name, traffic in sorted(counters.traffic.items())
            ),
            disks=tuple(machine.disks()),
            temperatures=tuple(machine.temperatures()),
        )


def share(part: float, whole: float) -> float:
    """Percent, between 0 and 100; of nothing it is 0.

    >>> share(1, 4), share(1, 0)
    (25.0, 0.0)
    """
    return min(100.0, max(0.0, 100 * part / whole)) if whole > 0 else 0.0


def _cpu_share(now: CpuTimes, before: CpuTimes | None) -> float:
    # A counter that went back (a processor that was switched off and on) starts anew.
    if before is None or now.total < before.total:
        return share(now.busy, now.total)
    return share(now.busy - before.busy, now.total - before.total)


def _interface(name: str, now: Traffic, before: Traffic | None, seconds: float) -> Interface:
    before = before or now
    return Interface(
        name,
        max(0.0, (now.received - before.received) / seconds),
        max(0.0, (now.sent - before.sent) / seconds),
        now.received,
        now.sent,
    )
