"""One small page: requests per second, latency and processor time of every server, kept alive and a connection each.

Every peer answers the same page to the same request of 26 parameters, one at a time on each of 8 connections over a
unix socket; every answer is checked. A round is cut into short turns; in each all peers are measured, in another order,
so that a disturbance of the machine meets all of them.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from measuring import (
    Settings,
    by_rounds,
    describe,
    facts,
    generate,
    last_words,
    notes,
    spread,
    start_all,
    told_rounds,
)
from peers import HELLO, Peer
from servers import Server
from toolchain import compile_program, tell

NAME = "hello"
MODES = {"kept": ("-k",), "each": ()}
"""Kept connections, and a connection for each request."""


def measure(settings: Settings) -> dict[str, Any]:
    """All peers in turns."""
    loadgen = compile_program("loadgen")
    measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        servers, missing = start_all(settings.chosen(HELLO), stack)
        turns = settings.rounds * settings.turns
        for number in range(turns):
            tell(f"  turn {number + 1} of {turns}")
            cases = [(server, mode) for server in servers for mode in MODES if mode == "each" or server.peer.keeps]
            random.Random(number).shuffle(cases)
            for server, mode in cases:
                found = measure_one(server, loadgen, mode, settings)
                measured.setdefault((server.peer.name, mode), []).append(found)
                told = f"{found['requests_per_second']:>10,.0f}/s {found['cpu_us']:>7.1f} us of processor time"
                tell(f"    {server.peer.name:24} {mode:5} {told}  {found['first_error']}")
    return {"missing": missing, "rows": make_rows([server.peer for server in servers], measured, settings.turns)}


def measure_one(server: Server, loadgen: Path, mode: str, settings: Settings) -> dict[str, Any]:
    """One measurement: what the load generator tells, and the server's processor time for a request in us."""
    timing = ("-w", str(settings.turn_seconds / 5), "-t", str(settings.turn_seconds))
    command = [str(loadgen), *MODES[mode], "-c", str(settings.connections), *timing, server.address]
    found, used = generate(command, server)
    if not found:
        return _failure(last_words(server))
    found["cpu_us"] = used * 1e6 / found["answered"] if found["answered"] else 0.0
    return found


def _failure(reason: str) -> dict[str, Any]:
    zeros = {"requests": 0, "requests_per_second": 0.0, "cpu_us": 0.0, "latency_us": {"p50": 0.0, "p99": 0.0}}
    return {**zeros, "errors": 1, "first_error": f"it does not answer: {reason}"}


def make_rows(
    peers: list[Peer], measured: dict[tuple[str, str], list[dict[str, Any]]], turns: int
) -> list[dict[str, Any]]:
    """A row for each peer, with its ratios to the floor where that was measured; `turns` make a round."""
    rows = []
    for peer in peers:
        row: dict[str, Any] = describe(peer)
        found = [each for mode in MODES for each in measured.get((peer.name, mode), ())]
        row["errors"] = sum(each["errors"] for each in found)
        row["first_error"] = next((each["first_error"] for each in found if each["first_error"]), "")
        for mode in MODES:
            every = measured.get((peer.name, mode))
            row[mode] = _summary(every, turns) if every else None
        rows.append(row)
    for row in rows:
        for mode in MODES:
            floor = rows[0][mode]
            if row[mode] and floor and rows[0]["name"] == "floor":
                pairs = zip(row[mode]["rounds"], floor["rounds"], strict=True)
                row[mode]["of_floor"] = round(median(own / (least or 1) for own, least in pairs), 4)
                cpu = row[mode]["cpu_us"]
                row[mode]["cpu_of_floor"] = round(floor["cpu_us"] / cpu, 4) if cpu else None
    return rows


def _summary(found: list[dict[str, Any]], turns: int) -> dict[str, Any]:
    rates = by_rounds([each["requests_per_second"] for each in found], turns)
    cpu = by_rounds([each["cpu_us"] for each in found], turns, lowest=True)
    return {
        "requests_per_second": round(median(rates), 1),
        "spread": spread(rates),
        "cpu_us": round(median(cpu), 2),
        "p50_us": round(median(each["latency_us"]["p50"] for each in found), 1),
        "p99_us": round(median(each["latency_us"]["p99"] for each in found), 1),
        "rounds": [round(rate, 1) for rate in rates],
    }


def render(result: dict[str, Any]) -> str:
    """The results as a Markdown table with the facts that belong to them."""
    settings = result["settings"]
    lines = [
        "| server | kept: requests/s | of floor | p99 µs | CPU µs "
        "| a connection each: requests/s | of floor | p99 µs | CPU µs |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        name = f"{row['label']} {row['version']}".strip()
        lines.append(f"| {name} | {_cells(row['kept'])} | {_cells(row['each'])} |")
    how = f"{settings['connections']} connections over a unix socket, one worker, {told_rounds(settings)}"
    return "\n".join([*lines, "", facts(result, how), *notes(result)])


def _cells(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "– | – | – | –"
    ratio = f"{summary['of_floor']:.3f}" if "of_floor" in summary else "–"
    rate = f"{summary['requests_per_second']:,.0f} ± {summary['spread'] * 100:.0f} %"
    return f"{rate} | {ratio} | {summary['p99_us']:,.0f} | {summary['cpu_us']:.1f}"
