"""`sitectl check`: is the site file right, and is the machine ready for it?"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from framework.cli import OK, PROBLEM, add_listen_argument, add_site_argument

if TYPE_CHECKING:
    from framework.site import Problem, Site

HELP = """\
Check the site file and what it needs of the system.

All mistakes are said at once. Errors keep the site from running; warnings are risks; notes say what setup
and run will do. Nothing is changed or served. Where all users exist, each application is imported by a process of its
own that runs as its back end's user, and its routes are compared: those that can never win, that compete, that are
slow. Exit status 0: no errors, 1: errors.

examples:
  sitectl check                      ./site.toml
  sitectl check --file-only          the file alone, on a machine that will not run it
  sitectl check --json site.toml     for programs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    add_listen_argument(parser)
    parser.add_argument("--file-only", action="store_true", help="do not ask the system: no accounts, ports, modules")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    site, problems = find_problems(arguments.site, arguments.listen, arguments.file_only)
    failed = any(problem.level == "error" for problem in problems)
    if arguments.json:
        import json

        report = {"ok": not failed, "problems": [problem.to_dict() for problem in problems]}
        json.dump(report, sys.stdout, indent=2)
        print()
    else:
        for problem in problems:
            print(problem)
        print(summary(arguments.site, site, problems))
    return PROBLEM if failed else OK


def find_problems(file: str, listen: str | None, file_only: bool) -> tuple[Site | None, list[Problem]]:
    """The site, where it can be loaded, and everything found about it."""
    from framework.site import SiteError, load

    try:
        site = load(file, overrides={"listen": listen} if listen is not None else {})
    except SiteError as error:
        return None, error.problems
    problems = list(site.remarks)
    if not file_only:
        from framework.frontends.check import check_frontend
        from framework.process.check import check_rights
        from framework.site.check import check_site

        problems += check_site(site) + check_rights(site) + check_frontend(site)
        problems += _route_problems(site, problems)
    return site, sorted(problems, key=lambda problem: problem.line or sys.maxsize)


def _route_problems(site: Site, problems: list[Problem]) -> list[Problem]:
    """What the URL tables say, of the back ends that can be imported: no errors so far, and their users exist."""
    import os

    from framework.site import access
    from framework.site.check import findings_of

    wrong = {
        problem.key.split(".")[1] for problem in problems if problem.level == "error" and "backend." in problem.key
    }
    names = [
        name
        for name, backend in site.backends.items()
        if name not in wrong
        and (os.geteuid() != 0 or (access.user_exists(backend.user) and access.group_exists(backend.group)))
    ]
    if not names:
        return []
    from framework.process.describe import url_tables
    from framework.process.layout import for_caller
    from framework.site.routes import check_routes
    from framework.site.shadowed import check_shadowed

    findings = findings_of(site)
    tables = url_tables(for_caller(site), names)
    check_shadowed(site, tables, findings)
    check_routes(tables, findings)
    return findings.in_file_order()


def summary(file: str, site: Site | None, problems: list[Problem]) -> str:
    """The last line: how many of what, or what the site consists of."""
    counts = [(level, sum(problem.level == level for problem in problems)) for level in ("error", "warning", "note")]
    found = ", ".join(_count(number, level) for level, number in counts if number)
    if site is None or any(problem.level == "error" for problem in problems):
        return f"{file}: {found}"
    parts = f"{_count(len(site.hosts), 'host')}, {_count(len(site.backends), 'back end')}, listening on {site.listen}"
    return f"{file}: no errors ({found}): {parts}" if found else f"{file}: no errors: {parts}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
