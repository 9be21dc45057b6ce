"""FastCGI servers side by side: `make bench`.

    python bench/run.py                        all peers that can be had here; results and the table in the docs
    python bench/run.py --quick                a short look: nothing is written
    python bench/run.py --only floor fastcore  peers whose names begin so
    python bench/run.py --rounds 9 --seconds 2
    python bench/run.py --realtime             as root, on a machine that has other work: stops it meanwhile

Every peer answers the same page to the same request of 26 parameters, one at a time on each of 8 connections over a
unix socket; every answer is checked. All peers are measured in each round, in changing order, so that a disturbance of
the machine meets all of them. A number is the median of the rounds, its spread half of the distance between the
quartiles; of processor time it is the lowest. Where there are two processors, server and load generator have one each.
Progress is on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from peers import PEERS, Peer
from servers import Server
from toolchain import RESULTS, ROOT, Missing, compile_program, machine_facts, tell

PAGE_FILE = ROOT / "docs" / "benchmarks.md"
RESULT_FILE = RESULTS / "hello.json"
MODES = {"kept": ("-k",), "each": ()}
"""Kept connections, and a connection for each request."""


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.quick:
        arguments.rounds, arguments.seconds = min(arguments.rounds, 1), min(arguments.seconds, 0.4)
    loadgen = compile_program("loadgen")
    if arguments.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # what is started from here inherits it
    machine = machine_facts()
    if float(machine["load"]) > 0.5 * int(machine["processors"]) and not arguments.realtime:
        tell(f"this machine is busy (load {machine['load']}): requests per second will tell little, CPU time more")
    wanted = tuple(arguments.only or ("",))
    measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with ExitStack() as stack:
        servers, missing = _start([peer for peer in PEERS if peer.name.startswith(wanted)], stack)
        for number in range(arguments.rounds):
            tell(f"round {number + 1} of {arguments.rounds}")
            _measure_round(servers, loadgen, arguments, random.Random(number), measured)
    rows = _rows([server.peer for server in servers], measured)
    result = {
        "machine": machine,
        "settings": {name: getattr(arguments, name) for name in ("connections", "seconds", "rounds", "realtime")},
        "missing": missing,
        "rows": rows,
    }
    table = render(result)
    print(table)
    if not arguments.quick and not arguments.only:
        RESULTS.mkdir(exist_ok=True)
        RESULT_FILE.write_text(json.dumps(result, indent=1) + "\n")
        write_table(PAGE_FILE, "hello", table)
        tell(f"written: {RESULT_FILE.relative_to(ROOT)}, {PAGE_FILE.relative_to(ROOT)}")
    failed = [row for row in rows if row["errors"]]
    for row in failed:
        tell(f"{row['name']}: {row['errors']} wrong answers, the first: {row['first_error']}")
    return 1 if any(row["name"].startswith(("floor", "fastcore")) for row in failed) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each peer (5)")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one measurement (1.5)")
    parser.add_argument("--connections", type=int, default=8, help="connections at once (8)")
    parser.add_argument("--quick", action="store_true", help="one short round, nothing written")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="real-time priority for both sides (root): for a machine that is not idle",
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="peers whose names begin so, nothing written")
    return parser


def processors() -> tuple[int | None, int | None]:
    """One processor for the servers and one for the load generator; None, None where there is but one."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


def _start(peers: list[Peer], stack: ExitStack) -> tuple[list[Server], dict[str, str]]:
    servers, missing = [], {}
    for peer in peers:
        tell(f"starting {peer.name}")
        try:
            servers.append(stack.enter_context(Server(peer, processors()[0])))
        except Missing as error:
            tell(f"  left out: {error}")
            missing[peer.name] = str(error)
    return servers, missing


def _measure_round(
    servers: list[Server],
    loadgen: Path,
    arguments: argparse.Namespace,
    order: random.Random,
    measured: dict[tuple[str, str], list[dict[str, Any]]],
) -> None:
    cases = [(server, mode) for server in servers for mode in MODES if mode == "each" or server.peer.keeps]
    order.shuffle(cases)
    for server, mode in cases:
        found = measure(server, loadgen, mode, arguments.seconds, arguments.connections)
        measured.setdefault((server.peer.name, mode), []).append(found)
        told = f"{found['requests_per_second']:>10,.0f}/s {found['cpu_us']:>7.1f} us of processor time"
        tell(f"  {server.peer.name:24} {mode:5} {told}  {found['first_error']}")


def measure(server: Server, loadgen: Path, mode: str, seconds: float, connections: int) -> dict[str, Any]:
    """One measurement: what the load generator tells, and the server's processor time for a request in us."""
    timing = ("-w", str(seconds / 5), "-t", str(seconds))
    command = [str(loadgen), *MODES[mode], "-c", str(connections), *timing, server.address]
    processor = processors()[1]
    if processor is not None:
        command = ["taskset", "-c", str(processor), *command]
    before = server.cpu_seconds()
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if not result.stdout:  # it could not even connect
        return _failure("; ".join(server.log().strip().splitlines()[-2:]) or "it is gone")
    found: dict[str, Any] = json.loads(result.stdout)
    used = server.cpu_seconds() - before
    found["cpu_us"] = used * 1e6 / found["answered"] if found["answered"] else 0.0
    return found


def _failure(reason: str) -> dict[str, Any]:
    zeros = {"requests": 0, "requests_per_second": 0.0, "cpu_us": 0.0, "latency_us": {"p50": 0.0, "p99": 0.0}}
    return {**zeros, "errors": 1, "first_error": f"it does not answer: {reason[:200]}"}


def _rows(peers: list[Peer], measured: dict[tuple[str, str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    rows = []
    for peer in peers:
        row: dict[str, Any] = {"name": peer.name, "label": peer.label, "version": peer.version, "note": peer.note}
        row["errors"], row["first_error"] = 0, ""
        for mode in MODES:
            found = measured.get((peer.name, mode))
            row[mode] = _summary(found) if found else None
            row["errors"] += sum(each["errors"] for each in found or ())
            row["first_error"] = next(
                (each["first_error"] for each in found or () if each["first_error"]), row["first_error"]
            )
        rows.append(row)
    for row in rows:
        for mode in MODES:
            floor = rows[0][mode]
            if row[mode] and floor and rows[0]["name"] == "floor":
                row[mode]["of_floor"] = round(row[mode]["requests_per_second"] / (floor["requests_per_second"] or 1), 4)
                row[mode]["cpu_of_floor"] = (
                    round(floor["cpu_us"] / row[mode]["cpu_us"], 4) if row[mode]["cpu_us"] else None
                )
    return rows


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    rates = sorted(each["requests_per_second"] for each in found)
    quarter = len(rates) // 4
    spread = (rates[-1 - quarter] - rates[quarter]) / 2 / median(rates) if median(rates) else 0.0
    return {
        "requests_per_second": round(median(rates), 1),
        "spread": round(spread, 4),
        "cpu_us": round(min(each["cpu_us"] for each in found), 2),
        "p50_us": round(median(each["latency_us"]["p50"] for each in found), 1),
        "p99_us": round(median(each["latency_us"]["p99"] for each in found), 1),
        "rounds": [each["requests_per_second"] for each in found],
    }


def render(result: dict[str, Any]) -> str:
    """The results as a Markdown table with the facts that belong to them."""
    machine, settings = result["machine"], result["settings"]
    lines = [
        "| server | kept: requests/s | of floor | p99 µs | CPU µs "
        "| a connection each: requests/s | of floor | p99 µs | CPU µs |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        name = f"{row['label']} {row['version']}".strip()
        lines.append(f"| {name} | {_cells(row['kept'])} | {_cells(row['each'])} |")
    notes = [f"{row['label']}: {row['note']}" for row in result["rows"] if row["note"]]
    notes += [f"{row['label']}: {row['errors']} wrong answers" for row in result["rows"] if row.get("errors")]
    notes += [f"left out: {name} ({reason})" for name, reason in result["missing"].items()]
    facts = (
        f"{machine['processor']}, {machine['processors']} processors, Linux {machine['kernel']}, "
        f"Python {machine['python']}; {settings['connections']} connections over a unix socket, one worker, "
        f"medians of {settings['rounds']} rounds of {settings['seconds']:g} s; "
        f"load of the machine before: {machine['load']}{', real-time priority' if settings.get('realtime') else ''}."
    )
    return "\n".join([*lines, "", facts, *(f"{note}." for note in notes)])


def _cells(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "– | – | – | –"
    ratio = f"{summary['of_floor']:.3f}" if "of_floor" in summary else "–"
    rate = f"{summary['requests_per_second']:,.0f} ± {summary['spread'] * 100:.0f} %"
    return f"{rate} | {ratio} | {summary['p99_us']:,.0f} | {summary['cpu_us']:.1f}"


def write_table(page: Path, name: str, table: str) -> None:
    """Put a table between the markers ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` of a page."""
    text = page.read_text()
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, found, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise SystemExit(f"{page.name} lacks the markers {begin} and {end}")
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
