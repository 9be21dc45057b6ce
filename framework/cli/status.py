"""`sitectl status`: what runs of a site, under which user, since when, and what went wrong."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from framework.cli import OK, PROBLEM, add_site_argument, load_site

HELP = """\
Show each part of a running site: user, pid, state, restarts, memory, last error.

Memory is the sum over the processes of a part: RSS as the kernel counts it, PSS with shared pages divided among
those who share them. The exit status is 1 where the site does not run or a part of it does not work.

examples:
  sudo sitectl status site.toml
  sudo sitectl status site.toml --json
"""

COLUMNS = ("part", "user", "pid", "state", "since", "restarts", "rss", "pss", "where")


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--json", action="store_true", help="everything that is known, as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    from framework.process.control import ControlError, ask
    from framework.process.layout import for_caller
    from framework.process.memory import add_memory

    site = for_caller(load_site(arguments))
    try:
        answer = ask(site.control_path, "status")
    except ControlError as error:
        print(f"sitectl: {error}", file=sys.stderr)
        return PROBLEM
    answer.pop("ok")
    add_memory(answer)
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        print("\n".join(_table(answer, time.time())))
    return OK if all(part["state"] == "ready" for part in answer["parts"]) else PROBLEM


def _table(answer: dict[str, Any], now: float) -> list[str]:
    memory = answer["memory"]
    supervisor = ("supervisor", answer["user"], str(answer["pid"]), "running", age(now - answer["since"]), "")
    rows = [COLUMNS, (*supervisor, size(memory["rss"]), size(memory["pss"]), answer["file"])]
    for part in answer["parts"]:
        rows.append(
            (
                part["name"],
                part["user"],
                str(part["pid"] or "-"),
                part["state"],
                age(now - part["since"]),
                str(part["restarts"]),
                size(part["memory"]["rss"]),
                size(part["memory"]["pss"]),
                part["where"],
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [*lines, *_errors(answer["parts"])]


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


def size(number: int | None) -> str:
    """Bytes in MiB; "-" where they are not known."""
    return "-" if number is None else f"{number / (1 << 20):.1f} MiB"
