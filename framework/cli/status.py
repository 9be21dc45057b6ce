"""`sitectl status`: what runs of a site, under which user, how busy it is, and what went wrong."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from framework.cli import OK, PROBLEM, add_site_argument, load_site

HELP = """\
Show each part of a running site: user, pid, generation, state, workers, requests a second, how long they took,
memory, restarts, last error.

busy, of the workers, counts those that have a request; req/s is of the last 16 to 32 seconds, p50 and p99 (half of
the requests, and 99 of 100, took no longer; a quarter too high at most) since the part was started. With --watch these
three are of the time since the last look. pss is the memory of all processes of a part, with shared pages divided
among those who share them. The exit status is 1 where the site does not run or a part of it does not work.

examples:
  sudo sitectl status site.toml
  sudo sitectl status site.toml --workers     # each worker too, and what it does
  sudo sitectl status site.toml --watch       # again every two seconds, until Ctrl-C
  sudo sitectl status site.toml --json
"""

COLUMNS = (
    "part", "user", "pid", "gen", "state", "since", "busy", "req/s", "p50", "p99", "restarts", "pss", "where",
)  # fmt: skip
WORKER_COLUMNS = ("worker", "pid", "state", "for", "age", "connections", "requests", "req/s", "url")
STATE_NAMES = {"asleep": "on demand, asleep"}
CLEAR = "\x1b[H\x1b[2J"


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--workers", action="store_true", help="each worker too: what it does, for how long, which URL")
    parser.add_argument(
        "--watch", nargs="?", type=seconds, const=2.0, metavar="SECONDS", help="again and again, every 2 seconds"
    )
    parser.add_argument("--json", action="store_true", help="everything that is known, as one JSON object")


def seconds(text: str) -> float:
    """An argument that is a span of time."""
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("from 0.1 to 3600 seconds")
    return value


def run(arguments: argparse.Namespace) -> int:
    from framework.process.control import ControlError, ask
    from framework.process.health import WELL
    from framework.process.layout import control_path
    from framework.process.memory import add_memory

    socket = control_path(load_site(arguments))
    before: dict[str, Any] = {}
    while True:
        try:
            answer = ask(socket, "status")
        except ControlError as error:
            print(f"sitectl: {error}", file=sys.stderr)
            return PROBLEM
        answer.pop("ok")
        add_memory(answer)
        status = OK if all(part["state"] in WELL for part in answer["parts"]) else PROBLEM
        try:
            _show(answer, before, arguments)
            if arguments.watch is None:
                return status
            before = {part["name"]: part for part in answer["parts"]} | {"": answer}
            time.sleep(arguments.watch)
        except (KeyboardInterrupt, BrokenPipeError):
            return status


def _show(answer: dict[str, Any], before: dict[str, Any], arguments: argparse.Namespace) -> None:
    answer["time"] = time.time()
    for part in answer["parts"]:
        _since(part, before, answer["time"])
    if arguments.json:
        print(json.dumps(answer, indent=None if arguments.watch else 2), flush=True)
        return
    lines = _table(answer, answer["time"])
    if arguments.workers:
        lines += _workers(answer["parts"])
    lines += _notes(answer)
    lines += _errors(answer["parts"])
    print((CLEAR if arguments.watch and sys.stdout.isatty() else "") + "\n".join(lines), flush=True)


def _since(part: dict[str, Any], before: dict[str, Any], now: float) -> None:
    """Make the rate and the latencies those of the time since the last look; they stay where there was none."""
    from fastcore.scoreboard import quantile_of

    last = before.get(part["name"])
    if last is None or last["pid"] != part["pid"] or part["requests"] < last["requests"]:
        return
    old = dict(last["latencies"])
    recent = [(limit, count - old.get(limit, 0)) for limit, count in part["latencies"]]
    part["rate"] = round((part["requests"] - last["requests"]) / max(now - before[""]["time"], 0.001), 3)
    part["p50"], part["p99"] = quantile_of(recent, 0.5), quantile_of(recent, 0.99)


def _table(answer: dict[str, Any], now: float) -> list[str]:
    nothing = ("",) * 5
    supervisor = ("supervisor", answer["user"], str(answer["pid"]), "", "running", age(now - answer["since"]))
    rows = [COLUMNS, (*supervisor, *nothing, size(answer["memory"]["pss"]), answer["file"])]
    for part in answer["parts"]:
        traffic = nothing[:4]
        if part["kind"] == "backend":
            workers = part["workers"]
            traffic = (
                f"{part['busy']} of {len(workers)}" if workers else "-",
                f"{part['rate']:.1f}" if workers else "-",
                duration(part["p50"]),
                duration(part["p99"]),
            )
        rows.append(
            (
                part["name"],
                part["user"],
                str(part["pid"] or "-"),
                str(part["generation"]),
                STATE_NAMES.get(part["state"], part["state"]),
                age(now - part["since"]),
                *traffic,
                str(part["restarts"]),
                size(part["memory"]["pss"]),
                part["where"],
            )
        )
    return _aligned(rows)


def _workers(parts: list[dict[str, Any]]) -> list[str]:
    rows = [WORKER_COLUMNS]
    for part in parts:
        for worker in part["workers"]:
            rows.append(
                (
                    f"{part['name']}/{worker['number']}",
                    str(worker["pid"]),
                    worker["state"],
                    duration(worker["seconds"]),
                    age(worker["age"]),
                    str(worker["connections"]),
                    str(worker["requests"]),
                    f"{worker['rate']:.1f}",
                    worker["url"],
                )
            )
    return ["", *_aligned(rows)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _notes(answer: dict[str, Any]) -> list[str]:
    """What is used of the memory budget; where the log goes, and what is not in it."""
    log, budget = answer["log"], answer["budget"]
    lines = [""]
    if budget is not None:
        ended = f", {budget['ended']} idle ones ended for it" if budget["ended"] else ""
        note = f": {budget['note']}" if budget["note"] else ""
        lines.append(f"memory: {size(budget['used'])} of {size(budget['limit'])} used{ended}{note}")
    lines += [f"log: {log['to']}" + (f", {log['lost']} lines lost" if log["lost"] else "")]
    for part in answer["parts"]:
        if part["log_dropped"]:
            lines.append(f"  {part['name']}: {part['log_dropped']} lines dropped, more than its log_rate")
    return lines


def _errors(parts: list[dict[str, Any]]) -> list[str]:
    lines = []
    for part in parts:
        if part["last_error"]:
            lines += ["", f"{part['name']}, last error: {part['last_error']}"]
            lines += [f"  | {line}" for line in part["last_lines"]]
    return lines


def age(seconds: float) -> str:
    """A time span in its largest two units.

    >>> age(3700)
    '1h 1m'
    """
    whole = max(0, int(seconds))
    for unit, below, length in (("d", "h", 86400), ("h", "m", 3600), ("m", "s", 60)):
        if whole >= length:
            smaller = {"h": 3600, "m": 60, "s": 1}[below]
            return f"{whole // length}{unit} {whole % length // smaller}{below}"
    return f"{whole}s"


def duration(seconds: float | None) -> str:
    """A short time in the unit that suits it; "-" where there is none.

    >>> duration(0.00153), duration(2.5), duration(100)
    ('1.5 ms', '2.5 s', '1m 40s')
    """
    if seconds is None:
        return "-"
    if seconds >= 60:
        return age(seconds)
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.1f} {unit}"
    return f"{seconds * 1e6:.0f} µs"


def size(number: int | None) -> str:
    """Bytes in MiB; "-" where they are not known."""
    return "-" if number is None else f"{number / (1 << 20):.1f} MiB"
