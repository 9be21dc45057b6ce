"""Routes that no request reaches, because another back end or the static folder has their paths on every host.

The longest prefix wins, so a route "/deep/x" of a back end at "/notes" is never asked for where another one is mounted
at "/notes/deep". Only the plain text that a pattern begins with is looked at: what is said here is certain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from framework.site.schema import Host, Mount, Site
from framework.site.tables import Findings

MAX_SHOWN: Final = 20
"""Findings that are shown for one back end; the others are counted."""

_FLAGS = re.compile(r"\(\?[a-z]+\)")
_PLAIN = re.compile(r"(?:[A-Za-z0-9/_~%@:!,;=&' -]|\\[^A-Za-z0-9])(?![*?{+])")


def check_shadowed(site: Site, tables: Mapping[str, Sequence[Mapping[str, Any]] | str], findings: Findings) -> None:
    """Warn of each route of the URL tables that is out of reach on every host that mounts its back end."""
    for name, table in tables.items():
        places = [(host, mount) for host in site.hosts for mount in host.mounts if mount.backend == name]
        if isinstance(table, str) or not places:
            continue
        found = []
        for route in table:
            start, is_whole = plain_start(str(route["pattern"]))
            takers = [_taker(host, mount, start, is_whole) for host, mount in places]
            if all(takers):
                found.append(f"the route {route['pattern']!r} is never asked for: {'; '.join(dict.fromkeys(takers))}")
        if len(found) > MAX_SHOWN:
            found[MAX_SHOWN:] = [f"{len(found) - MAX_SHOWN} more routes are never asked for"]
        for reason in found:
            hint = "mount one of them elsewhere"
            findings.note(("backend", name, "application"), f"backend.{name}.application", reason, hint, "warning")


def plain_start(pattern: str) -> tuple[str, bool]:
    r"""The text that every path of a route begins with, and whether it is the whole path.

    >>> plain_start(r"^/deep/(\d+)$"), plain_start(r"/a\.b$"), plain_start("(?i)/x$")
    (('/deep/', False), ('/a.b', True), ('', False))
    """
    rest = pattern.removeprefix("^")
    if "|" in pattern or _FLAGS.match(rest):
        return "", False
    start = ""
    while match := _PLAIN.match(rest):
        start += match[0][-1]
        rest = rest[match.end() :]
    return start, rest in ("$", r"\Z", r"\z")


def _taker(host: Host, mount: Mount, start: str, is_whole: bool) -> str:
    """Who has the paths below `mount` that begin with `start`; "" where the mount itself may have one."""
    path = mount.prefix + start
    for other in host.mounts:
        inner = len(other.prefix) > len(mount.prefix) and other.prefix.startswith(f"{mount.prefix}/")
        if inner and (path.startswith(f"{other.prefix}/") or (is_whole and path == other.prefix)):
            return f"on {host.name} {other.prefix} is {other.backend}'s"
    static = host.static is not None and host.static_prefix and not mount.prefix
    if static and path.startswith(f"{host.static_prefix}/"):
        return f"on {host.name} {host.static_prefix} is the static folder's"
    return ""
