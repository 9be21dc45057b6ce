"""Who runs what: the processes of this site, as the kernel shows them to anybody.

The supervisor is found by walking up from this process; its children are the parts. Nobody is asked and nothing is
configured, so what the page says is what is so. Where the kernel hides other users' processes only this one is known.
"""

from __future__ import annotations

import os

from appliance.proc import Machine, Process, read
from fastcore.values import dataclass

BACKEND_MODULE = "framework.process.backend"
MAX_PARTS = 64


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the site.

    `backend` is its name where it is a back end, else ""; `memory` in bytes; `here` marks the part that answers.
    """

    title: str
    backend: str
    user: str
    uid: int
    pid: int
    memory: int
    here: bool


def find(machine: Machine) -> list[Part]:
    """The supervisor first, then its children by pid; only this process where no supervisor is seen."""
    way = _ancestors(machine, os.getpid())
    if not way:
        return []
    # The back end's first process and its workers share a command line; the supervisor stands above them.
    mine = [process for process in way if BACKEND_MODULE in _command(machine, process.pid)] or way[:1]
    above = way[len(mine) : len(mine) + 1]
    if not above or above[0].pid == 1:
        return [_part(machine, mine[-1], here=True)]
    supervisor = above[0]
    children = [process for process in machine.processes() if process.parent == supervisor.pid][:MAX_PARTS]
    title = "sitectl dev" if "dev" in _command(machine, supervisor.pid) else "Supervisor"
    return [
        Part(title, "", supervisor.user, supervisor.uid, supervisor.pid, supervisor.memory, here=False),
        *(_part(machine, child, here=child.pid == mine[-1].pid) for child in children),
    ]


def _ancestors(machine: Machine, pid: int) -> list[Process]:
    """This process, its parent, and so on up."""
    way: list[Process] = []
    while pid > 0 and len(way) < MAX_PARTS:
        process = machine.process(pid)
        if process is None:
            break
        way.append(process)
        pid = process.parent
    return way


def _part(machine: Machine, process: Process, *, here: bool) -> Part:
    command = _command(machine, process.pid)
    backend = command[-1] if BACKEND_MODULE in command else ""
    title = f"Back end {backend}" if backend else f"Front end {process.name}"
    return Part(title, backend, process.user, process.uid, process.pid, process.memory, here)


def _command(machine: Machine, pid: int) -> list[str]:
    return read(machine.proc / str(pid) / "cmdline", 4096).rstrip("\0").split("\0")
