"""Where the instructions of a WSGI request go: callgrind by function, on kept connections.

As in `instructions.py`, two lives of the worker with few and with many requests; the difference is what one further
request costs in each function. It is user space only: what the kernel does for a request is not in it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from instructions import FEW, MANY, count_life
from measuring import Settings, facts, notes
from peers import WSGI
from toolchain import Missing, compile_program, tell

NAME = "wsgi_profile"
TOP = 25
_LINE = re.compile(r"^\s*([0-9,]+) \([^)]*\)\s+(.*?):(\S.*?)(?: \[([^\]]*)\])?$")


def measure(settings: Settings) -> dict[str, Any]:
    """Instructions for a request by function, the most first. Raises Missing where valgrind is not there."""
    if shutil.which("valgrind") is None or shutil.which("callgrind_annotate") is None:
        raise Missing("valgrind (Debian: apt-get install valgrind)")
    compile_program("loadgen")
    counted: list[dict[tuple[str, str], int]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        for requests in (FEW, MANY):
            tell(f"  {requests} requests under callgrind")
            profile = Path(directory) / f"callgrind.{requests}"
            count_life(WSGI, ("-k",), requests, profile)
            command = ["callgrind_annotate", "--threshold=100", "--auto=no", "--show-percs=yes", str(profile)]
            counted.append(parse(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
    rows, total = by_function(*counted, MANY - FEW)
    return {"missing": {}, "rows": rows[:TOP], "total": total, "functions": len(rows)}


def parse(text: str) -> dict[tuple[str, str], int]:
    """callgrind_annotate's list: (function, object file's name) → instructions."""
    counts: dict[str, int] = {}
    modules: dict[str, str] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None or match[3].startswith("PROGRAM TOTALS"):
            continue
        function = re.sub(r"'\d+$", "", match[3])  # 'N: the Nth level of a recursion
        module = Path(match[4] or "").name.partition(".cpython")[0]
        counts[function] = counts.get(function, 0) + int(match[1].replace(",", ""))
        modules[function] = modules.get(function) or module  # what was inlined elsewhere comes without its object
    return {(function, modules[function]): count for function, count in counts.items()}


def by_function(
    few: dict[tuple[str, str], int], many: dict[tuple[str, str], int], requests: int
) -> tuple[list[dict[str, Any]], int]:
    """Instructions of one further request by function, the most first, and all of them together."""
    before = {function: count for (function, _), count in few.items()}
    rows = [
        {
            "function": readable(function),
            "module": module,
            "instructions": round((count - before.get(function, 0)) / requests),
        }
        for (function, module), count in many.items()
    ]
    rows = sorted((row for row in rows if row["instructions"] > 0), key=lambda row: -row["instructions"])
    return rows, sum(row["instructions"] for row in rows)


def render(result: dict[str, Any]) -> str:
    """The results as a Markdown table."""
    total = result["total"] or 1
    lines = ["| instructions | share | function | in |", "|--:|--:|---|---|"]
    for row in result["rows"]:
        share = f"{row['instructions'] / total:.1%}"
        lines.append(f"| {row['instructions']:,} | {share} | `{row['function']}` | {row['module'] or '?'} |")
    rest = total - sum(row["instructions"] for row in result["rows"])
    lines.append(f"| {rest:,} | {rest / total:.1%} | {result['functions'] - len(result['rows'])} others | |")
    lines.append(f"| {total:,} | 100 % | all | |")
    return "\n".join([*lines, "", facts(result, "one request on a kept connection, user space"), *notes(result)])


def readable(function: str) -> str:
    """A C name that Cython made, as `module.Class.function`; any other as it is.

    Cython writes the length of each part but the last before it: 8fastcore_8compiled_7request_7Request_find.
    """
    match = re.match(r"^__pyx_[a-z_]+?_(?=8fastcore_8compiled_)(?:8fastcore_8compiled_)(.*)$", function)
    if match is None:
        return function
    rest, parts = match[1], []
    while counted := re.match(r"^(\d+)", rest):
        start = len(counted[1])
        end = start + int(counted[1])
        if end > len(rest) or rest[end : end + 1] not in ("_", ""):  # the number of a wrapper
            rest = rest[start:]
            break
        parts.append(rest[start:end])
        rest = rest[end:].removeprefix("_")
    return ".".join([*parts, rest] if rest else parts)
