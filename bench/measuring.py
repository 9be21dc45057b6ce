"""What all sections of `make bench` have in common: their settings, who runs where, medians and spreads.

A section is a module with `NAME`, `measure(settings) -> dict` and `render(result) -> str`. What `measure` returns can
be written as JSON; `rows` and `missing` (name → reason) are in each.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

from peers import Peer
from servers import Program, Server
from toolchain import Missing, tell

Found = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """How long and how much.

    rounds      of each number
    turns       into which a round of a server is cut; between them the others have theirs
    seconds     timed in a round, of all its turns together
    connections at once
    size        bytes of a large body
    requests    before memory is read
    only        peers whose names begin so; () for all
    """

    rounds: int = 5
    turns: int = 8
    seconds: float = 1.0
    connections: int = 8
    size: int = 1 << 30
    requests: int = 10_000
    only: tuple[str, ...] = ()
    realtime: bool = False

    def chosen(self, peers: Iterable[Peer]) -> list[Peer]:
        """Those of the peers that are wanted."""
        return [peer for peer in peers if peer.name.startswith(self.only or ("",))]

    @property
    def turn_seconds(self) -> float:
        """Length of one turn."""
        return self.seconds / self.turns


QUICK = Settings(rounds=1, turns=2, seconds=0.3, size=64 << 20, requests=2000)


def processors() -> tuple[int | None, int | None]:
    """One processor for the servers and one for the load generator; None, None where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def start_all(peers: Iterable[Peer], stack: ExitStack) -> tuple[list[Server], dict[str, str]]:
    """All peers that can be had here, running until the stack ends; the others with the reason."""
    servers, missing = [], {}
    for peer in peers:
        tell(f"  starting {peer.name}")
        try:
            servers.append(stack.enter_context(Server(peer, processors()[0])))
        except Missing as error:
            tell(f"    left out: {error}")
            missing[peer.name] = str(error)
    return servers, missing


def generate(command: Sequence[str], server: Program) -> tuple[Found, float]:
    """Run a load generator on its processor: what it tells, and the server's processor time meanwhile in seconds.

    What it tells is {} where it could not even connect.
    """
    processor = processors()[1]
    pinned = ("taskset", "-c", str(processor)) if processor is not None else ()
    before = server.cpu_seconds()
    result = subprocess.run([*pinned, *command], stdout=subprocess.PIPE, text=True)
    used = server.cpu_seconds() - before
    try:
        found: Found = json.loads(result.stdout)
    except ValueError:
        return {}, used
    return found, used


def last_words(server: Program) -> str:
    """The end of what a server has printed, in a line."""
    return "; ".join(server.log().strip().splitlines()[-2:])[:200] or "it is gone"


def describe(peer: Peer) -> Found:
    """The columns of a row that tell which server it is."""
    return {"name": peer.name, "label": peer.label, "version": peer.version, "note": peer.note}


def best_of_turns(turns: Sequence[float], *, lowest: bool = False) -> float:
    """What a round gives: the median of the best quarter of its turns, at least of one.

    What else the machine does, or another guest of its host, makes a turn slower and never faster, often for several
    seconds, and not all servers by the same share. `lowest` where less is better.
    """
    ordered = sorted(turns, reverse=not lowest)
    return median(ordered[: max(1, len(ordered) // 4)])


def by_rounds(turns: Sequence[float], count: int, *, lowest: bool = False) -> list[float]:
    """What each round gives, of `count` turns."""
    rounds = [turns[start : start + count] for start in range(0, len(turns), count)]
    return [best_of_turns(each, lowest=lowest) for each in rounds]


def told_rounds(settings: Found) -> str:
    """How a number was found, for the line below a table."""
    turns = settings.get("turns", 1)
    cut = f"{turns} turns of {settings['seconds'] / turns:g} s" if turns > 1 else f"{settings['seconds']:g} s"
    return f"medians of {settings['rounds']} rounds of {cut}"


def spread(values: Sequence[float]) -> float:
    """Half of the distance between the quartiles, as a share of the median."""
    ordered = sorted(values)
    quarter = len(ordered) // 4
    middle = median(ordered)
    return round((ordered[-1 - quarter] - ordered[quarter]) / 2 / middle, 4) if middle else 0.0


def quotient(one: float | None, other: float | None) -> float | None:
    """One by the other; None where either is not there."""
    return one / other if one is not None and other else None


def notes(result: Found) -> list[str]:
    """What belongs below the table of a section: remarks on rows, wrong answers, who is left out."""
    lines = [f"{row['label']}: {row['note']}." for row in result["rows"] if row.get("note")]
    lines += [
        f"{row['label']}: {row['errors']} wrong answers, the first: {row['first_error']}."
        for row in result["rows"]
        if row.get("errors")
    ]
    return [*lines, *(f"Left out: {name} ({reason})." for name, reason in result["missing"].items())]


def facts(result: Found, *more: str) -> str:
    """The line below a table: machine, versions, when, how busy the machine was."""
    machine = result["machine"]
    real = ", real-time priority" if result["settings"].get("realtime") else ""
    told = [
        f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']}, "
        f"Python {machine['python']}",
        *more,
        f"load of the machine before: {machine['load']}{real}",
        result["date"],
    ]
    return "; ".join(told) + "."
