"""Large bodies: 1 GiB read by the application in blocks of 64 KiB, and 1 GiB sent, from an iterator and from a file.

One connection, one request at a time. What comes down is compared byte for byte with the pattern; of what goes up, the
application tells the length and a checksum: before the timing of every byte of some MiB, in the timed runs of a sample,
because a checksum of everything would cost more than the transfer.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from measuring import Settings, best_of_turns, describe, facts, generate, last_words, notes, spread, start_all
from peers import Peer, transfer_peers
from servers import Server
from toolchain import compile_program, tell
from transfers import FILE, PERIOD, expected_answer, make_pattern

NAME = "transfer"
KINDS = {"up": ("-u", "/upload"), "blocks": ("-d", "/blocks"), "file": ("-d", "/file")}
TITLES = {"up": "upload, read by the application", "blocks": "sent from an iterator", "file": "sent from a file"}
SAMPLE = 4093
"""The stride of the sample: prime, so that it meets every place of the blocks."""
VERIFIED = 5 * PERIOD + 12_345
"""Bytes of the transfers before the timing."""
GIB = 1 << 30
TURNS = 3
"""Transfers of one kind in a round, at most."""
ENOUGH_SECONDS = 3.0
"""What took so long in a round has no further turn in it: slow servers are not measured for minutes. All that are near
each other have the same number of turns, as the best of more is better: 1 GiB at 720 MB/s still has three.
"""


def measure(settings: Settings) -> dict[str, Any]:
    """All peers in turns."""
    program = compile_program("transfer")
    pattern = make_pattern()
    measured: dict[tuple[str, str], list[list[dict[str, Any]]]] = {}
    with ExitStack() as stack:
        file = stack.enter_context(_file_with(pattern, max(settings.size, VERIFIED)))
        os.environ[FILE] = str(file)
        servers, missing = start_all(settings.chosen(transfer_peers()), stack)
        rounds = min(settings.rounds, 5)
        for number in range(-1, rounds):
            tell("  every byte of some MiB" if number < 0 else f"  round {number + 1} of {rounds}")
            size = settings.size if number >= 0 else 0
            _truncate(file, pattern, size or VERIFIED)
            for each in measured.values():
                each.append([])
            for turn in range(TURNS if size else 1):
                cases = [(server, kind) for server in servers for kind in KINDS if _has(server.peer, kind)]
                random.Random(f"{number} {turn}").shuffle(cases)
                for server, kind in cases:
                    had = measured.setdefault((server.peer.name, kind), [[]])[-1]
                    if sum(each["seconds"] for each in had) >= ENOUGH_SECONDS:
                        continue
                    found = transfer(program, server, kind, pattern, size)
                    had.append(found)
                    told = f"{found['rate']:>8,.0f} MB/s {found['cpu']:>6.2f} s of processor time/GiB"
                    tell(f"    {server.peer.name:32} {kind:6} {told}  {found['error']}")
    return {"missing": missing, "rows": make_rows([server.peer for server in servers], measured)}


def transfer(program: Path, server: Server, kind: str, pattern: bytes, size: int) -> dict[str, Any]:
    """One transfer of `size` bytes, or, with 0, of VERIFIED bytes, each checked: MB/s, processor time for a GiB."""
    option, path = KINDS[kind]
    length, stride = (size, SAMPLE) if size else (VERIFIED, 1)
    found, used = generate([str(program), option, str(length), "-p", path, "-s", str(stride), server.address], server)
    if not found:
        return {"rate": 0.0, "cpu": 0.0, "seconds": 0.0, "error": f"it does not answer: {last_words(server)}"}
    error = found["error"]
    if not error and kind == "up" and found["answer"] != expected_answer(pattern, length, stride):
        error = f"the application has read something else: {found['answer'].strip()[:60]!r}"
    rate = length / found["seconds"] / 1e6
    return {"rate": rate, "cpu": used * GIB / length, "seconds": found["seconds"], "error": error}


@contextmanager
def _file_with(pattern: bytes, size: int) -> Iterator[Path]:
    """A file with so many bytes of the pattern, in memory where there is room."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 4 * size
    with tempfile.TemporaryDirectory(prefix="bench-", dir=shared if roomy else None) as directory:
        path = Path(directory) / "pattern"
        path.touch()
        _truncate(path, pattern, size)
        yield path


def _truncate(path: Path, pattern: bytes, size: int) -> None:
    """Give the file this length, what is new with the pattern; a place keeps its byte."""
    had = path.stat().st_size
    with path.open("r+b") as file:
        if had > size:
            file.truncate(size)
        file.seek(had)
        while had < size:
            had += file.write(pattern[had % PERIOD : had % PERIOD + size - had])


def _has(peer: Peer, kind: str) -> bool:
    return kind != "file" or not peer.name.startswith(("libfcgi", "fastcore-compiled-native"))


def make_rows(peers: list[Peer], measured: dict[tuple[str, str], list[list[dict[str, Any]]]]) -> list[dict[str, Any]]:
    """A row for each peer: rates and processor time. The first round of each, with every byte checked, is not timed."""
    rows = []
    for peer in peers:
        row: dict[str, Any] = describe(peer)
        found = [each for kind in KINDS for turns in measured.get((peer.name, kind), ()) for each in turns]
        row["errors"] = sum(bool(each["error"]) for each in found)
        row["first_error"] = next((each["error"] for each in found if each["error"]), "")
        for kind in KINDS:
            rounds = measured.get((peer.name, kind), [])
            row[kind] = None
            if rounds[1:] and not any(each["error"] for turns in rounds for each in turns):
                rates = [best_of_turns([each["rate"] for each in turns]) for turns in rounds[1:]]
                cpu = [best_of_turns([each["cpu"] for each in turns], lowest=True) for turns in rounds[1:]]
                row[kind] = {
                    "mb_per_second": round(median(rates), 1),
                    "spread": spread(rates),
                    "cpu_seconds_per_gib": round(median(cpu), 3),
                    "rounds": [round(rate, 1) for rate in rates],
                }
        rows.append(row)
    return rows


def render(result: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    heads = " | ".join(f"{title}: MB/s | CPU s/GiB" for title in TITLES.values())
    lines = [f"| server | {heads} |", "|---|" + "--:|" * 2 * len(KINDS)]
    for row in result["rows"]:
        name = f"{row['label']} {row['version']}".strip()
        lines.append(f"| {name} | {' | '.join(_cells(row[kind]) for kind in KINDS)} |")
    size = result["settings"]["size"]
    rounds = min(result["settings"]["rounds"], 5)
    turns = f"rounds, of each the best of up to {TURNS} transfers" if "turns" in result["settings"] else "transfers"
    how = f"{size / GIB:g} GiB on one connection over a unix socket, medians of {rounds} {turns}"
    return "\n".join([*lines, "", facts(result, how), *notes(result)])


def _cells(summary: dict[str, Any] | None) -> str:
    if summary is None:
        return "– | –"
    return f"{summary['mb_per_second']:,.0f} ± {summary['spread'] * 100:.0f} % | {summary['cpu_seconds_per_gib']:.2f}"
