"""How much memory the parts of a running site use, asked of the kernel by root or the user who runs the site."""

from __future__ import annotations

from typing import Any

from framework.process.runfiles import processes

__all__ = ["add_memory", "memory_of"]


def add_memory(answer: dict[str, Any]) -> None:
    """Add "memory", in bytes over each one's session, to the supervisor and the parts of a control socket's status."""
    sessions: dict[int, list[int]] = {}
    for pid, session, _, _ in processes():
        sessions.setdefault(session, []).append(pid)
    answer["memory"] = memory_of([answer["pid"]])
    for part in answer["parts"]:
        part["processes"] = sorted(sessions.get(part["pid"], [])) if part["pid"] else []
        part["memory"] = memory_of(part["processes"])


def memory_of(pids: list[int]) -> dict[str, int | None]:
    """Resident and proportional set size in bytes, summed; None where no process can be looked at."""
    total: dict[str, int | None] = {"rss": None, "pss": None}
    for pid in pids:
        for key, value in _rollup(pid).items():
            total[key] = (total[key] or 0) + value
    return total


def _rollup(pid: int) -> dict[str, int]:
    """Rss and Pss of /proc/PID/smaps_rollup (proc(5)), in bytes."""
    found = {}
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name in ("Rss", "Pss"):
                    found[name.lower()] = int(value.split()[0]) * 1024
    except OSError:
        pass
    return found
