"""What 200 idle streams in one worker change for its other calls behind nginx: time of a call, processor time, memory.

Turns without and with the streams follow one another; each of the latter is compared with the two beside it, and the
median of these ratios is told: what else the machine does meets both. A control, all of whose turns are without
streams, says how far from 1 such a ratio is by chance.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Settings, facts, processors, start_all
from rpc import OURS, CallNginx, connection_to, first_answer, measure_one
from servers import Server
from toolchain import compile_program, tell

NAME = "streams"
STREAMS = 200
HEARTBEATS = {"": 0.75, "slow/": 60.0}
"""The path of each Proxy of remote_proxy.py, and its seconds between signs of life."""
TURN = 0.25
"""Seconds of a turn: enough calls for a p99."""
DEADLINE = 30.0
KEYS = ("p50_us", "p99_us", "cpu_us", "requests_per_second")


def measure(settings: Settings) -> dict[str, Any]:
    """A row for each heartbeat, and the control."""
    program = compile_program("httpload")
    with ExitStack() as stack:
        servers, missing = start_all([OURS.peer], stack)
        front = stack.enter_context(CallNginx(servers, processors()[1]))
        cases = [*HEARTBEATS.items(), ("", None)]
        rows = [measure_turns(program, servers[0], front, path, beat, settings) for path, beat in cases]
    return {"missing": missing, "rows": rows, "versions": [CallNginx.version()]}


def measure_turns(
    program: Path, server: Server, front: CallNginx, path: str, heartbeat: float | None, settings: Settings
) -> dict[str, Any]:
    """The turns of one heartbeat; of None, the control."""
    tell("  control" if heartbeat is None else f"  {STREAMS} idle streams, heartbeat {heartbeat:g} s")
    count = max(2, settings.rounds * settings.turns)
    one = replace(settings, seconds=TURN, turns=1)
    expected = first_answer(front, OURS)

    def turn() -> dict[str, Any]:
        found = measure_one(program, server, front, OURS, expected, one)
        return {**found, **{f"{name}_us": value for name, value in found.get("latency_us", {}).items()}}

    without, having, memory = [turn()], [], []
    for number in range(count):
        with ExitStack() as stack:
            before = private_memory(server)
            if heartbeat is not None:
                for _ in range(STREAMS):
                    stack.enter_context(open_stream(front, f"/{OURS.peer.name}/{path}"))
                memory.append((private_memory(server) - before) / STREAMS)
            having.append(turn())
        wait_until_closed(front)
        without.append(turn())
        if number % 10 == 9:
            tell(f"    {number + 1} of {count}: {summary('p99_us', without, having)}")
    every = [*without, *having]
    return {
        "name": "fastcore-streams" if heartbeat is not None else "fastcore-control",
        "heartbeat": heartbeat,
        "bytes": round(memory[0]) if memory and not path else None,  # what was freed is used again: the first ones tell
        "errors": sum(each["errors"] for each in every),
        "first_error": next((each["first_error"] for each in every if each["first_error"]), ""),
        **{key: summary(key, without, having) for key in KEYS},
    }


def summary(key: str, without: Sequence[dict[str, Any]], having: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Medians of both, and of the ratio of each turn with streams to the mean of those before and after it."""
    ratios = [
        have[key] / ((before[key] + after[key]) / 2)
        for before, have, after in zip(without, having, without[1:], strict=False)
        if before.get(key) and after.get(key) and have.get(key)
    ]
    low, high = interval(ratios)
    return {
        "without": round(median(each.get(key, 0.0) for each in without), 2),
        "with": round(median(each.get(key, 0.0) for each in having), 2),
        "ratio": round(median(ratios), 4) if ratios else 0.0,
        "low": round(low, 4),
        "high": round(high, 4),
    }


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Where the median lies with a probability of 95 %: between two order statistics, whatever the distribution.

    >>> interval([float(number) for number in range(1, 26)])
    (8.0, 18.0)
    """
    if not values:
        return 0.0, 0.0
    ordered = sorted(values)
    reach = 0.98 * len(ordered) ** 0.5  # half of 1.96 standard deviations of a binomial distribution
    low = max(0, round(len(ordered) / 2 - reach) - 1)
    return ordered[low], ordered[len(ordered) - 1 - low]


@contextmanager
def open_stream(front: CallNginx, path: str) -> Iterator[None]:
    """An idle stream whose first item has come."""
    head = {"Content-Type": "application/json", "Accept": "application/x-ndjson", "Host": "console.example.org"}
    with connection_to(front.path) as connection:
        connection.request("POST", path, '{"jsonrpc":"2.0","id":1,"method":"idle"}', head)
        answer = connection.getresponse()
        while (line := answer.readline()) in (b"\n", b""):
            if not line:
                raise RuntimeError(f"no stream: {answer.status}")
        yield
        answer.close()


def wait_until_closed(front: CallNginx) -> None:
    """Until the worker has no stream left."""
    deadline = time.monotonic() + DEADLINE
    while open_streams(front):
        if time.monotonic() > deadline:
            raise RuntimeError("streams were not ended")
        time.sleep(0.05)


def open_streams(front: CallNginx) -> int:
    """How many the worker has."""
    with connection_to(front.path) as connection:
        head = {"Content-Type": "application/json", "Host": "console.example.org"}
        connection.request("POST", f"/{OURS.peer.name}/", '{"jsonrpc":"2.0","id":1,"method":"still_open"}', head)
        return int(json.loads(connection.getresponse().read())["result"])


def private_memory(server: Server) -> int:
    """Bytes that the server's processes have to themselves."""
    total = 0
    for pid in server.pids():
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(int(size) * 1024 for size in re.findall(r"^Private_\w+: +(\d+) kB", text, re.MULTILINE))
    return total


def render(result: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    lines = [
        f"| {STREAMS} idle streams | p50 µs: without, with | ratio | p99 µs | ratio | CPU µs for a call | ratio "
        "| memory of a stream |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in result["rows"]:
        beat = row["heartbeat"]
        cells = [f"heartbeat {beat:g} s" if beat is not None else "none, as a control"]
        for key in ("p50_us", "p99_us", "cpu_us"):
            found = row[key]
            digits = 1 if key == "cpu_us" else 0
            cells.append(f"{found['without']:,.{digits}f}, {found['with']:,.{digits}f}")
            cells.append(f"{found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f})")
        cells.append(f"{row['bytes'] / 1024:.1f} KiB" if row["bytes"] else "the same" if beat else "–")
        lines.append(f"| {' | '.join(cells)} |")
    settings = result["settings"]
    how = (
        f"{', '.join(result['versions'])}; {settings['connections']} HTTP connections, one worker, "
        f"{settings['rounds'] * settings['turns']} turns of {TURN:g} s of each kind, "
        "medians of the ratios with their 95 % intervals"
    )
    return "\n".join([*lines, "", facts(result, how)])
