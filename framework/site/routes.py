"""What a site's URL tables say about themselves: routes that can never win, that compete, that are slow.

The tables come from the applications, so they are looked at by a process of their own: without rights where root asks,
bounded in time, memory and output. What it has not found by then is said to be unknown, never guessed.

    python -m framework.site.routes < TABLE.json      one finding a line, as JSON
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from framework.site.problems import Level

if TYPE_CHECKING:
    from fastcore.routing.patterns import Route
    from framework.site.tables import Findings

__all__ = ["ANALYSIS_SECONDS", "MAX_SHOWN", "check_routes"]

ANALYSIS_SECONDS: Final = 10
"""Processor time for the analysis of one table; four times as long by the clock."""

MAX_SHOWN: Final = 20
"""Findings of one kind that are shown for one back end; the others are counted."""

MAX_ANALYSIS_MEMORY: Final = 1 << 30
MAX_OUTPUT: Final = 4 << 20
MAX_TEXT: Final = 300
NOBODY: Final = 65534

_LEVELS: Final[dict[str, Level]] = {"unreachable": "warning"}
_MORE: Final = {
    "unreachable": "more routes that can never win",
    "undecided": "more routes of which it is not known whether they can win",
    "overlaps": "more pairs of routes that compete",
    "slow": "more slow routes",
}
_UNFINISHED: Final = {
    "unreachable": "which routes can never win is not known",
    "slow": "which routes are slow is not known",
    "overlaps": "which routes compete is not known",
}


def check_routes(tables: Mapping[str, Sequence[Mapping[str, Any]] | str], findings: Findings) -> None:
    """Note what is found about the table of each back end, as `framework.process.describe.url_tables` gives them.

    A route that can never win is a warning that names its position, pattern and handler, and the routes that take
    its paths; routes that compete, slow ones and what could not be found out are notes.
    """
    for name, table in tables.items():
        if isinstance(table, str):
            _note(findings, name, f"its URL table cannot be looked at: {table}", "warning")
            continue
        counts: dict[str, int] = {}
        for kind, text in _analysed(table):
            counts[kind] = counts.get(kind, 0) + 1
            if counts[kind] <= MAX_SHOWN:
                _note(findings, name, text, _LEVELS.get(kind, "note"))
        for kind, count in counts.items():
            if count > MAX_SHOWN:
                _note(findings, name, f"{count - MAX_SHOWN} {_MORE[kind]}", _LEVELS.get(kind, "note"))


def _note(findings: Findings, name: str, reason: str, level: Level) -> None:
    findings.note(("backend", name, "application"), f"backend.{name}.application", reason, "", level)


def _analysed(table: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(kind, text) of each finding about one table."""
    if not table:
        return
    finished: set[str] = set()
    for line in _run(json.dumps(list(table)).encode()).splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            break  # cut off in the middle
        if "finished" in found:
            finished.add(found["finished"])
        else:
            yield found["kind"], found["text"]
    for stage, unknown in _UNFINISHED.items():
        if stage not in finished:
            yield "unfinished", f"{unknown}: the table needs more than {ANALYSIS_SECONDS} s of work, or more memory"


def _run(table: bytes) -> bytes:
    """What the process that looks at the table has written, all of it or until its time was up."""
    command = [sys.executable, "-P", "-m", "framework.site.routes"]
    environment = {name: os.environ[name] for name in ("PYTHONPATH", "FASTCORE_PURE") if name in os.environ}
    try:
        done = subprocess.run(
            command, input=table, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
            timeout=4 * ANALYSIS_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"")[:MAX_OUTPUT]
    return done.stdout[:MAX_OUTPUT]


# -- in the process of its own ----------------------------------------------------------------------------------------


def _main() -> None:
    from fastcore.routing import PatternError, Router

    for name in ("fastcore.routing.analysis", "fastcore.routing.listing"):  # these files may be closed to nobody
        importlib.import_module(name)
    Router([("/", None)])
    _give_up_rights()
    rows = json.load(sys.stdin.buffer)
    table = [(row["pattern"], row["handler"]) for row in rows]
    try:
        router = Router(table)
    except PatternError as error:
        _tell("unfinished", f"the routes cannot be compared: {error}".splitlines()[0])
        for stage in _UNFINISHED:
            _finish(stage)
        return
    for unreachable in router.unreachable():
        _tell("unreachable", _text_of_unreachable(unreachable))
    for undecided in router.undecided():
        _tell("undecided", f"it is not known whether {_name(undecided.route)} can win: {undecided.reason}")
    _finish("unreachable")
    for slow in router.slow_routes():
        _tell("slow", f"{_name(slow.route)} is matched by re, which promises no linear time: {slow.reason}")
    _finish("slow")
    try:
        for overlap in router.overlaps():
            pair = f"{_name(overlap.first)} and {_name(overlap.second)}"
            _tell("overlaps", f"{pair} both match {_quoted(overlap.example)}; route {overlap.winner.index} wins")
    except OverflowError as error:
        _tell("unfinished", f"which routes compete is not known: {error}")
    _finish("overlaps")


def _give_up_rights() -> None:
    """A table is an application's: what reads it may compute, and nothing else."""
    resource.setrlimit(resource.RLIMIT_CPU, (ANALYSIS_SECONDS, ANALYSIS_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ANALYSIS_MEMORY, MAX_ANALYSIS_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def _tell(kind: str, text: str) -> None:
    if len(text) > 4 * MAX_TEXT:
        text = text[: 4 * MAX_TEXT] + "…"
    print(json.dumps({"kind": kind, "text": text}), flush=True)


def _finish(stage: str) -> None:
    print(json.dumps({"finished": stage}), flush=True)


def _text_of_unreachable(found: Any) -> str:
    if found.example is None:
        return f"{_name(found.route)} can never win: it matches no path at all"
    takers = " and ".join(map(_name, found.taken_by[:3]))
    more = f" and {len(found.taken_by) - 3} more" if len(found.taken_by) > 3 else ""
    take = "takes" if len(found.taken_by) == 1 else "take"
    example = _quoted(found.example)
    return f"{_name(found.route)} can never win: {takers}{more} before it {take} all its paths, such as {example}"


def _name(route: Route) -> str:
    return f"route {route.index} {_quoted(route.pattern)} ({route.target})"


def _quoted(text: str) -> str:
    """The text in quotes, printable; a backslash stays one, so that a pattern reads as it was written."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:MAX_TEXT])
    return f'"{shown}{"…" if len(text) > MAX_TEXT else ""}"'


if __name__ == "__main__":
    _main()
