"""Instructions for one request in the compiled worker, counted by callgrind: `make bench-instructions`.

    python bench/instructions.py               count, compare with results/instructions.json: over 3 % more fails
    python bench/instructions.py --keep        count, and keep the result to compare with from now on
    python bench/instructions.py --profile DIR also keep callgrind's profiles there, for callgrind_annotate

The same server answers FEW and then, in a second life, MANY requests on one connection at a time; the difference is
what the further requests cost, free of start and end. It counts user space only and hardly depends on the machine or on
what else it does, but on the compiler and the interpreter: a result is compared with one of the same Python only.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers import PEERS, Peer
from servers import Server
from toolchain import RESULTS, compile_program, machine_facts, tell

FEW, MANY = 200, 1200
"""Requests of the two lives; the interpreter has adapted its hot code long before the first end."""
GROWTH = 0.03
TRIES = 3
"""Counts of a connection each, where one is too many: how often the worker sleeps between a connection and its first
byte depends on the machine's load (1547 times for 1200 connections, or 809: 6 % of the instructions)."""
RESULT_FILE = RESULTS / "instructions.json"
CASES = [
    (f"{interface}, {text}", f"fastcore-compiled-{interface}", options)
    for interface in ("native", "wsgi")
    for text, options in (("kept", ("-k",)), ("a connection each", ()))
] + [(f"async, {event_loop}, kept", f"fastcore-compiled-{event_loop}", ("-k",)) for event_loop in ("asyncio", "uvloop")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the result as what later runs are compared with")
    parser.add_argument("--profile", type=Path, metavar="DIR", help="keep callgrind's profiles in this folder")
    arguments = parser.parse_args()
    if arguments.profile:
        arguments.profile.mkdir(parents=True, exist_ok=True)
    peers = {peer.name: peer for peer in PEERS}
    before = json.loads(RESULT_FILE.read_text()) if RESULT_FILE.exists() else {}
    counted: dict[str, int] = {}
    for name, peer, options in CASES:
        most = before.get("instructions", {}).get(name, 0) * (1 + GROWTH)
        for _ in range(TRIES):
            count = count_case(peers[peer], options, arguments.profile, name)
            counted[name] = min(counted.get(name, count), count)
            if counted[name] <= most or "kept" in name:
                break
        tell(f"{name:28} {counted[name]:>8,} instructions for a request")
    facts = machine_facts()
    result = {"python": facts["python"], "compiler": facts["compiler"], "instructions": counted}
    if arguments.keep or not before:
        RESULTS.mkdir(exist_ok=True)
        RESULT_FILE.write_text(json.dumps(result, indent=1) + "\n")
        return 0
    return compare(before, result)


def count_case(peer: Peer, options: tuple[str, ...], profiles: Path | None, name: str) -> int:
    """Instructions that one further request costs."""
    few = count_life(peer, options, FEW, None)
    profile = profiles / f"callgrind.{re.sub('[^a-z]+', '-', name)}" if profiles else None
    return round((count_life(peer, options, MANY, profile) - few) / (MANY - FEW))


def count_life(peer: Peer, options: tuple[str, ...], requests: int, profile: Path | None) -> int:
    """Instructions of a whole life of the server with so many requests."""
    out = f"--callgrind-out-file={profile.resolve() if profile else '/dev/null'}"
    quiet = "--child-silent-after-fork=yes"  # of the child that parses the command line
    with Server(peer, wrapper=("valgrind", "--tool=callgrind", quiet, out)) as server:
        command = [str(compile_program("loadgen")), *options, "-c", "1", "-n", str(requests), server.address]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if result.returncode:
            raise SystemExit(f"{peer.name}: {result.stdout}{server.log()}")
        server.end()
        collected = re.search(r"Collected : ([0-9]+)", server.log())
        if collected is None:
            raise SystemExit(f"callgrind has counted nothing: {server.log()[-500:]}")
        return int(collected[1])


def compare(before: dict[str, Any], now: dict[str, Any]) -> int:
    """Print the kept counts beside the new ones; 1 where one has grown by more than `GROWTH`."""
    if before["python"].rpartition(".")[0] != now["python"].rpartition(".")[0]:
        tell(f"kept with Python {before['python']}, counted with {now['python']}: not compared")
        return 0
    failed = False
    for name, count in now["instructions"].items():
        kept = before["instructions"].get(name)
        change = count / kept - 1 if kept else 0.0
        failed = failed or change > GROWTH
        print(f"{name:28} {kept or 0:>8,} -> {count:>8,} {change:+7.1%}{'  TOO MANY' if change > GROWTH else ''}")
    if failed:
        print(
            f"more than {GROWTH:.0%} more: make it cheaper, or keep the new counts (--keep) and say why in the commit"
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
