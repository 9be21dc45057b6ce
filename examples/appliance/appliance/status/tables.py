"""The table of processes: which, in which order, as texts."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from appliance import units
from appliance.status.sampler import Running, Sampler

MAX_ROWS = 200
STATES = {
    "R": "running", "S": "sleeping", "D": "waiting", "Z": "ended", "T": "stopped", "t": "traced", "I": "idle", "X":
    "ended", }  # fmt: skip


class Order(Enum):
    """What the processes are sorted by."""

    CPU = "cpu"
    MEMORY = "memory"
    NAME = "name"
    USER = "user"
    PID = "pid"


_KEYS: dict[Order, Callable[[Running], Any]] = {
    Order.CPU: lambda running: (-running.cpu, -running.process.memory, running.process.pid),
    Order.MEMORY: lambda running: (-running.process.memory, running.process.pid),
    Order.NAME: lambda running: (running.process.name.casefold(), running.process.pid),
    Order.USER: lambda running: (running.process.user, running.process.pid),
    Order.PID: lambda running: running.process.pid,
}
DESCENDING = {Order.CPU, Order.MEMORY}
COLUMNS: tuple[tuple[str, Order | None, str | None], ...] = (
    ("Name", Order.NAME, None),
    ("pid", Order.PID, "right optional"),
    ("User", Order.USER, None),
    ("CPU", Order.CPU, "right"),
    ("Memory", Order.MEMORY, "right"),
    ("Threads", None, "right optional"),
    ("State", None, "optional"),
)


def process_rows(sampler: Sampler, order: Order, limit: int) -> tuple[list[list[str]], int]:
    """The texts of the first `limit` rows, and how many processes there are."""
    running = sorted(sampler.running(), key=_KEYS[order])
    return [_row(entry) for entry in running[: max(1, min(limit, MAX_ROWS))]], len(running)


def _row(running: Running) -> list[str]:
    process = running.process
    return [
        process.name,
        str(process.pid),
        process.user,
        units.percent(running.cpu),
        units.size(process.memory),
        str(process.threads),
        STATES.get(process.state, process.state),
    ]
