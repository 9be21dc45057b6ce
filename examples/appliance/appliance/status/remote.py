"""The remote calls of `status`: what static/live.mjs and static-wall/wall.mjs ask for, and anybody with the module.

import status from "/status/rpc";
const { texts } = await status.overview();
"""

from __future__ import annotations

import time

from appliance import attempts, panels, parts, places
from appliance.attempts import Attempt
from appliance.status import live
from appliance.status.machine import machine, sampler
from appliance.status.tables import Order, process_rows
from framework.rpc import Proxy


def overview() -> dict[str, object]:
    """The machine's figures as texts, bars (percent) and charts (SVG paths), by the names that the pages use."""
    return live.overview(sampler).as_json()


def processes(sort: str = "cpu", limit: int = 25) -> dict[str, object]:
    """The first `limit` processes by "cpu", "memory", "name", "user" or "pid", as the texts of table rows."""
    rows, count = process_rows(sampler, Order(sort), limit)
    return {"texts": {"count": str(count)}, "rows": {"processes": rows}}


def figures() -> dict[str, float]:
    """Plain numbers for programs: percent, bytes, seconds."""
    now = sampler.figures()
    return {
        "cpu_percent": now.cpu,
        "memory_used_bytes": now.memory.used,
        "memory_total_bytes": now.memory.total,
        "load_one": now.load.one,
        "uptime_seconds": now.uptime,
    }


def try_again() -> str:
    """What a button of the page "Privileges" calls: the attempts are made once more."""
    refused = panels.count_refused(attempts_on_notes(parts.find(machine)))
    return f"At {time.strftime('%H:%M:%S')} the kernel refused {refused}."


def attempts_on_notes(found: list[parts.Part]) -> list[Attempt]:
    """What `status` tries on `notes`, one of the parts that were found."""
    return attempts.make("notes", places.of("notes", found, machine), "notes.sqlite")


proxy = Proxy([overview, processes, figures, try_again])
