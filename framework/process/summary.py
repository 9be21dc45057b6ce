"""What the supervisor says when the site is up: who runs as whom, what to open in a browser."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from framework.process.health import WELL

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["summary", "urls_of"]


def summary(site: Site, parts: list[dict[str, Any]], seconds: float) -> list[str]:
    """The lines that tell who runs as whom, and what to open in a browser."""
    failed = sum(part["state"] not in WELL for part in parts)
    lines = ["", f"site {site.name} is up after {seconds:.2f} s" + (f", but for {failed} part(s)" if failed else "")]
    rows = [("part", "user", "uid", "pid", "state", "where")]
    rows += [
        (part["name"], part["user"], str(part["uid"]), str(part["pid"] or "-"), part["state"], part["where"])
        for part in parts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines += [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)).rstrip()
        for row in rows
    ]
    lines += [f"  {part['name']}: {part['last_error']}" for part in parts if part["state"] not in WELL]
    if os.geteuid() != 0:
        user = parts[0]["user"]
        lines.append(f"  without root: everything runs as {user}, so no part is protected from another")
    lines += [f"  open {url}" for url in urls_of(site)]
    return [*lines, "  stop with Ctrl-C, or: sitectl stop", ""]


def urls_of(site: Site) -> list[str]:
    """What to open in a browser, one for each host."""
    tls, plain = site.tls_port, next((listen.port for listen in site.addresses if not listen.tls), 0)
    urls = []
    for host in site.hosts:
        scheme, port, usual = ("https", tls, 443) if host.certificate else ("http", plain, 80)
        if port:
            urls.append(f"{scheme}://{host.name}{'' if port == usual else f':{port}'}/")
    return urls
