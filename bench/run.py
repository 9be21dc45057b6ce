"""FastCGI servers side by side: `make bench`.

    python bench/run.py                              everything; writes bench/results and docs/benchmarks.md
    python bench/run.py --quick                      a short look at everything: nothing is written
    python bench/run.py --sections hello transfer    parts of it
    python bench/run.py --only floor fastcore        peers whose names begin so: nothing is written
    python bench/run.py --rounds 9 --seconds 2
    python bench/run.py --size 256M                  of a large body
    python bench/run.py --realtime                   as root, on a machine that has other work: stops it meanwhile
    python bench/run.py --render                     the page and the drawings again from the kept results

A round is cut into turns, in which the servers are measured one after the other; it gives the median of the best
quarter of them. A number is the median of the rounds, its spread half of the distance between the quartiles. Where
there are two processors, server and load generator have one each. Progress is on standard error. A peer that cannot be
had here is left out and told; everything that was started is stopped, also on an interrupt.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
import traceback
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import page
from measuring import QUICK, Settings
from toolchain import RESULTS, ROOT, Missing, end_by_signals, machine_facts, tell

SECTIONS = ("hello", "transfer", "memory", "frontends", "startup", "wsgi_profile", "rpc", "streams")


def main() -> int:
    arguments = _parser().parse_args()
    if arguments.render:
        page.write()
        return 0
    end_by_signals()
    settings = settings_of(arguments)
    if settings.realtime:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))  # what is started from here inherits it
    machine = machine_facts()
    if float(machine["load"]) > 0.5 * int(machine["processors"]) and not settings.realtime:
        tell(f"this machine is busy (load {machine['load']}): requests per second will tell little, CPU time more")
    keep = not arguments.quick and not settings.only
    began, wrong, failed = time.monotonic(), False, []
    for name in arguments.sections or SECTIONS:
        section = importlib.import_module(name)
        tell(f"{name} ({time.monotonic() - began:.0f} s)")
        facts = {"date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "machine": machine_facts()}
        try:
            result = {**facts, "settings": asdict(settings), **section.measure(settings)}
        except Missing as error:
            tell(f"  left out: {error}")
            failed.append(name)
            continue
        except Exception:  # the other sections are worth their time all the same
            tell(traceback.format_exc())
            failed.append(name)
            wrong = True
            continue
        print(f"\n{section.render(result)}\n", flush=True)
        wrong |= _tell_wrong_answers(result)
        if keep:
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name.replace('_', '-')}.json").write_text(json.dumps(result, indent=1) + "\n")
    if keep:
        page.write()
        tell(f"written: {RESULTS.relative_to(ROOT)}, {page.PAGE.relative_to(ROOT)}")
    tell(f"{time.monotonic() - began:.0f} s in all{'; not measured: ' + ', '.join(failed) if failed else ''}")
    return 1 if wrong else 0


def _tell_wrong_answers(result: dict[str, Any]) -> bool:
    """Tell which peers gave wrong answers; True where one of ours did."""
    rows = [row for row in result["rows"] if row.get("errors")]
    for row in rows:
        tell(f"  {row['name']}: {row['errors']} wrong answers, the first: {row['first_error']}")
    return any(row["name"].startswith(("floor", "fastcore")) for row in rows)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """The settings that a command line asks for: what it names, the rest as --quick or the default has it."""
    names = ("rounds", "turns", "seconds", "connections", "size", "requests")
    named = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    start = QUICK if arguments.quick else Settings()
    return replace(start, **named, only=tuple(arguments.only or ()), realtime=arguments.realtime)


def parse_size(text: str) -> int:
    """`"64M"` as bytes; K, M and G are powers of 1024. Raises ValueError."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    number = int(text[:-1] if factor > 1 else text)
    if number < 1:
        raise ValueError(f"{text} is no size")
    return number * factor


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, metavar="NAME", help=f"some of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="peers whose names begin so, nothing written")
    parser.add_argument("--rounds", type=int, help=f"of which a number is the median ({Settings.rounds})")
    parser.add_argument("--turns", type=int, help=f"into which a round is cut ({Settings.turns})")
    parser.add_argument("--seconds", type=float, help=f"timed in a round, for each peer ({Settings.seconds:g})")
    parser.add_argument("--connections", type=int, help=f"connections at once ({Settings.connections})")
    parser.add_argument("--size", type=parse_size, help="of a large body (1G)")
    parser.add_argument("--requests", type=int, help=f"before memory is read ({Settings.requests})")
    parser.add_argument("--quick", action="store_true", help="one short round of small sizes, nothing written")
    parser.add_argument("--render", action="store_true", help="measure nothing: the page again from the kept results")
    parser.add_argument(
        "--realtime",
        action="store_true",
        help="real-time priority for both sides (root): for a machine that is not idle",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
