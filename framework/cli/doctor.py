"""`sitectl doctor`: what each process of a running site may do, asked of the kernel, beside what the site file says."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from framework.cli import OK, PROBLEM, add_site_argument, load_site

if TYPE_CHECKING:
    from framework.process.doctor import Examined, Try

HELP = """\
Show what each process of a running site may do, asked of the kernel and tried, not read from the site file.

For each part: its address, processes, user, groups and capabilities as /proc has them; what a program with its rights
may read, write, start, reach and signal, tried; the mode of its socket and who may connect to it, tried as each user
of the site. What goes beyond the site file is a line that begins with WIDER, and the exit status is 1. So is it where
a part does not run.

examples:
  sudo sitectl doctor site.toml
  sudo sitectl doctor site.toml --json
  sudo sitectl doctor site.toml --all       every single attempt with the kernel's answer
"""

RED, YELLOW, GREEN, PLAIN = "\033[31m", "\033[33m", "\033[32m", "\033[0m"


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--json", action="store_true", help="everything that was found, as one JSON object")
    parser.add_argument("--all", action="store_true", help="every attempt with the kernel's answer")


def run(arguments: argparse.Namespace) -> int:
    from framework.process.control import ControlError, ask
    from framework.process.doctor import examine
    from framework.process.layout import for_caller
    from framework.process.memory import add_memory
    from framework.process.parts import PartsError, parts_of

    site = for_caller(load_site(arguments))
    try:
        answer = ask(site.control_path, "status")
        parts = parts_of(site)
    except (ControlError, PartsError) as error:
        print(f"sitectl: {error}", file=sys.stderr)
        return PROBLEM
    if answer["uid"] != os.geteuid():
        print(f"sitectl: the site runs as {answer['user']}: only that user can examine it", file=sys.stderr)
        return PROBLEM
    add_memory(answer)
    found = examine(site, parts, answer)
    if arguments.json:
        print(json.dumps({"site": site.name, "parts": [each.to_json() for each in found]}, indent=2))
    else:
        changed = site.file.stat().st_mtime > answer["since"]
        print("\n".join(_lines(answer, found, changed=changed, everything=arguments.all, colour=sys.stdout.isatty())))
    return OK if all((each.pids or each.sleeps) and not each.wider for each in found) else PROBLEM


def _lines(
    answer: dict[str, Any], found: list[Examined], *, changed: bool, everything: bool, colour: bool
) -> list[str]:
    paint = _Paint(colour)
    lines = [f"site {answer['site']}, examined from the kernel and by trying"]
    if changed:
        lines.append(
            paint(YELLOW, f"NOTE   {answer['file']} has changed since the start: this compares with the new one")
        )
    if answer["uid"]:
        lines.append(paint(YELLOW, "NOTE   runs without root: all parts have the same user, none is closed to another"))
    lines += ["", f"supervisor  pid {answer['pid']}, {answer['user']}"]
    for each in found:
        lines += ["", *_part(each, paint, everything)]
    wider = sum(len(each.wider) for each in found)
    verdict = paint(RED, f"{wider} wider than declared") if wider else paint(GREEN, "nothing is wider than declared")
    return [*lines, "", verdict]


class _Paint:
    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._colour else text


def _part(each: Examined, paint: _Paint, everything: bool) -> list[str]:
    lines = [f"{each.name}  {each.where}"]

    def fact(name: str, text: str) -> None:
        lines.append(f"  {name:<11} {text}")

    if each.pids:
        groups = f", groups {' '.join(each.groups)}" if each.groups else ""
        fact("processes", " ".join(map(str, each.pids)))
        fact("user", f"{each.user} ({each.uid}), group {each.group} ({each.gid}){groups}")
        fact("rights", _rights(each))
    if each.tries:
        for kind, title in (("read", "reads"), ("write", "writes"), ("execute", "starts")):
            fact(title, _summary([one for one in each.tries if one.kind == kind]))
        others = [one for one in each.tries if one.kind in ("socket", "signal", "connect", "become")]
        refused = sum(not one.allowed for one in others)
        fact("reaches", f"{_allowed(others) or 'nothing'} ({refused} of {len(others)} attempts refused)")
    if each.socket:
        served = f"; answers {' and '.join(each.may_connect)} only" if each.may_connect else ""
        fact("socket", f"{each.socket} {each.socket_mode}{served}")
    if everything:
        lines += [f"    {one.kind:<8} {one.target:<44} {one.answer or 'allowed'}" for one in each.tries]
    lines += [paint(YELLOW, f"  NOTE   {text}") for text in each.notes]
    lines += [paint(RED, f"  WIDER  {text}") for text in each.wider]
    if each.pids and not each.wider:
        lines.append(paint(GREEN, "  as declared"))
    return lines


def _rights(each: Examined) -> str:
    words = [
        "capabilities " + " ".join(each.capabilities) if each.capabilities else "no capabilities",
        "no new privileges" if each.no_new_privileges else "MAY GAIN PRIVILEGES",
    ]
    if each.kind == "backend":
        words.append("system calls filtered" if each.filtered else "all system calls")
    return ", ".join(words)


def _allowed(tries: list[Try]) -> str:
    return " ".join(one.target for one in tries if one.allowed)


def _summary(tries: list[Try]) -> str:
    refused = sum(not one.allowed for one in tries)
    return f"{_allowed(tries) or 'nothing'} ({refused} of {len(tries)} places refused)"
