"""Memory of a server with the one small page, after some thousand requests: with one worker, and of each further one.

PSS is what the kernel says in smaps_rollup: private pages, and of each shared page its part. A page of the interpreter
that another running Python maps too counts in parts here, so RSS, which counts it whole, is told beside it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from measuring import Settings, describe, facts, generate, last_words, notes
from peers import MEMORY, Peer, this_python
from servers import Server
from toolchain import Missing, compile_program, tell, write_byte_code

NAME = "memory"
WORKERS = (1, 2, 4)


def measure(settings: Settings) -> dict[str, Any]:
    """Each peer alone, with each number of workers."""
    rows, missing = [], {}
    write_byte_code()
    bare = measure_bare()
    tell(f"    the interpreter alone {bare['pss'] / 1e6:6.2f} MB PSS")
    for peer in settings.chosen(MEMORY):
        row: dict[str, Any] = {**describe(peer), "errors": 0, "first_error": "", "workers": {}}
        for workers in WORKERS if peer.forks else WORKERS[:1]:
            try:
                found = measure_one(replace(peer, workers=workers), settings)
            except Missing as error:
                tell(f"    left out: {error}")
                missing[peer.name] = str(error)
                break
            row["errors"] += bool(found["error"])
            row["first_error"] = row["first_error"] or found["error"]
            row["workers"][str(workers)] = found
            told = f"{found['pss'] / 1e6:6.2f} MB PSS in {found['processes']} processes"
            tell(f"    {peer.name:24} {workers} workers {told}  {found['error']}")
        if row["workers"]:
            row["further"] = further(row["workers"])
            rows.append(row)
    return {"missing": missing, "rows": rows, "bare": bare}


def measure_bare() -> dict[str, int]:
    """Sums as of a server, for the interpreter with nothing but `time` imported: what no server in Python is below."""
    code = "import time; print(flush=True); time.sleep(600)"
    with subprocess.Popen([str(this_python()), "-c", code], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            return memory_of([process.pid])
        finally:
            process.kill()


def measure_one(peer: Peer, settings: Settings) -> dict[str, Any]:
    """Sums over the processes of a server with `peer.workers` workers, in bytes, after the requests."""
    generator = compile_program("loadgen" if peer.protocol == "fastcgi" else "httpload")
    kept = ("-k",) if peer.protocol == "fastcgi" and peer.keeps else ()
    with Server(peer) as server:
        connections = str(settings.connections * peer.workers)
        told, _ = generate(
            [str(generator), *kept, "-c", connections, "-n", str(settings.requests), server.address], server
        )
        error = told["first_error"] if told else f"it does not answer: {last_words(server)}"
        sums = memory_of(server.pids())
    return {**sums, "error": error}


def memory_of(pids: Iterable[int]) -> dict[str, int]:
    """`pss`, `rss` and `private` of processes together, in bytes, and how many they are."""
    sums = {"processes": 0, "pss": 0, "rss": 0, "private": 0}
    for pid in pids:
        with suppress(OSError):  # it has ended meanwhile
            found = parse_rollup(Path(f"/proc/{pid}/smaps_rollup").read_text())
            sums["processes"] += 1
            for name in ("pss", "rss", "private"):
                sums[name] += found[name]
    return sums


def parse_rollup(text: str) -> dict[str, int]:
    """PSS, RSS and private bytes from the text of /proc/PID/smaps_rollup (proc_pid_smaps(5))."""
    sizes = {}
    for line in text.strip().splitlines()[1:]:
        name, _, size = line.partition(":")
        sizes[name] = int(size.split()[0]) * 1024
    return {
        "pss": sizes["Pss"],
        "rss": sizes["Rss"],
        "private": sizes["Private_Clean"] + sizes["Private_Dirty"],
    }


def further(workers: dict[str, Any]) -> float | None:
    """PSS in bytes that each further worker costs: by the difference of the two largest numbers of workers."""
    numbers = sorted(map(int, workers))
    if len(numbers) < 2:
        return None
    less, more = numbers[-2], numbers[-1]
    return float((workers[str(more)]["pss"] - workers[str(less)]["pss"]) / (more - less))


def render(result: dict[str, Any]) -> str:
    """The results as a Markdown table, in MB (10^6 bytes)."""
    heads = " | ".join(f"PSS, {number}" for number in WORKERS)
    lines = [f"| server | RSS, 1 worker | private, 1 | {heads} | each further |", "|---|" + "--:|" * (3 + len(WORKERS))]
    if bare := result.get("bare"):
        cells = [*(_mb(bare[name]) for name in ("rss", "private", "pss")), *["–"] * len(WORKERS)]
        lines.append(f"| (the interpreter alone) | {' | '.join(cells)} |")
    for row in result["rows"]:
        name = f"{row['label']} {row['version']}".strip()
        first = row["workers"]["1"]
        cells = [_mb(first["rss"]), _mb(first["private"])]
        cells += [_mb(row["workers"].get(str(number), {}).get("pss")) for number in WORKERS]
        lines.append(f"| {name} | {' | '.join(cells)} | {_mb(row['further'])} |")
    how = f"MB of 10^6 bytes, all processes of the server together, after {result['settings']['requests']:,} requests"
    return "\n".join([*lines, "", facts(result, how), *notes(result)])


def _mb(size: float | None) -> str:
    return "–" if size is None else f"{size / 1e6:.2f}"
