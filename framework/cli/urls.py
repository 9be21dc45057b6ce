"""`sitectl urls`: the whole URL tree of a site, host by host: pattern, handler, back end, and the user behind it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from framework.cli import OK, PROBLEM, add_site_argument, load_site

if TYPE_CHECKING:
    from framework.site import Host, Mount, Site

HELP = """\
Show the whole URL tree: host, pattern, handler, back end, user.

Each application is imported for that, by a process of its own that runs as the back end's user; nothing is served.
Patterns are regular expressions; the first of a back end that matches wins, the longest prefix before that.
Exit status 1 where an application cannot be imported.

examples:
  sitectl urls site.toml
  sitectl urls --json site.toml | jq -r '.routes[].pattern'
"""

_COLUMNS = ("HOST", "URL", "HANDLER", "NAME", "BACK END", "USER")
_NOTHING = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    add_site_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from framework.process.describe import url_tables
    from framework.process.layout import for_caller

    site = for_caller(load_site(arguments))
    tables = url_tables(site)
    errors = {name: table for name, table in tables.items() if isinstance(table, str)}
    rows = list(rows_of(site, {name: table for name, table in tables.items() if not isinstance(table, str)}))
    if arguments.json:
        import json

        json.dump({"site": site.name, "routes": rows, "errors": errors}, sys.stdout, indent=2)
        print()
    else:
        print(as_table(_COLUMNS, [_shown(row) for row in rows]))
    for name, text in errors.items():
        print(f"sitectl: back end {name}: {_plain(text)}", file=sys.stderr)
    return PROBLEM if errors else OK


def rows_of(site: Site, tables: dict[str, list[dict[str, Any]]]) -> Iterable[dict[str, Any]]:
    """One dictionary for each URL of each host: the back ends' routes, static folders and redirects.

    Keys: "host", "prefix", "pattern", "handler", "name", "backend", "user"; the back end is None for what the front end
    answers by itself.
    """
    for host in site.hosts:
        yield from _rows_of_frontend(site, host)
        for mount in host.mounts:
            yield from _rows_of_mount(site, mount, tables.get(mount.backend))


def _rows_of_frontend(site: Site, host: Host) -> Iterable[dict[str, Any]]:
    own = {"host": host.name, "name": None, "backend": None, "user": site.frontend_user}
    if host.home:
        yield {**own, "prefix": "", "pattern": "/$", "handler": f"redirect to {host.home}"}
    if host.static is not None:
        yield {**own, "prefix": host.static_prefix, "pattern": "/", "handler": f"files of {host.static}"}


def _rows_of_mount(site: Site, mount: Mount, table: list[dict[str, Any]] | None) -> Iterable[dict[str, Any]]:
    if mount.backend in site.foreign:
        foreign = site.foreign[mount.backend]
        own = {"host": mount.host, "prefix": mount.prefix, "backend": foreign.name, "user": None, "name": None}
        yield {**own, "pattern": "/", "handler": f"FastCGI at {foreign.address}"}
        return
    backend = site.backends[mount.backend]
    own = {"host": mount.host, "prefix": mount.prefix, "backend": backend.name, "user": backend.user}
    if table is None:
        yield {**own, "pattern": "/", "handler": "(cannot be imported)", "name": None}
    elif not table:
        yield {**own, "pattern": "/", "handler": f"{backend.application} (WSGI)", "name": None}
    for route in table or ():
        yield {**own, "pattern": route["pattern"], "handler": route["handler"], "name": route["name"]}


def _shown(row: dict[str, Any]) -> list[str]:
    flags, pattern = re.fullmatch(r"(?s)((?:\(\?[a-z]+\))?)(.*)", row["pattern"]).groups()  # type: ignore[union-attr]
    url = flags + row["prefix"] + pattern.removeprefix("^")
    cells = (row["host"], url, row["handler"], row["name"], row["backend"], row["user"])
    return [_plain(cell) if cell else _NOTHING for cell in cells]


def as_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under heads, each column as wide as its widest cell.

    >>> print(as_table(["A", "B"], [["one", "1"]]))
    A    B
    one  1
    """
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [heads, *rows])
    return "\n".join(line.rstrip() for line in lines)


def _plain(text: str) -> str:
    """Printable: what an application tells goes to a terminal."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
