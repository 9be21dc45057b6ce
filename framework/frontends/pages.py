"""What the front end shows by itself: the page for a back end that is down, and robots.txt. As bytes, by file name.

The front end's configuration names these files in the site's `pages_directory`; the supervisor writes them there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from framework.errors import ErrorPage
from framework.site.schema import Host, Site
from framework.site.values import MAX_PAGE_BYTES

RETRY_AFTER: Final = 5
"""Seconds after which a client may ask a back end again that was down."""

UNAVAILABLE_URL: Final = "/-unavailable"
"""Where a host keeps that page, for the front end itself."""

DEFAULT_TEXT: Final = "This part of the site cannot be reached right now. Please try again in a moment."


class PageError(Exception):
    """A page that the site file names cannot be used; the text names host, file and reason."""


def unavailable_name(host: Host) -> str:
    """The file of a host's page for a back end that is down."""
    return f"unavailable-{host.name.strip('[]')}.html"


def robots_name(host: Host) -> str:
    """The file of a host's robots.txt."""
    return f"robots-{host.name.strip('[]')}.txt"


def pages_of(site: Site) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of every page that the configuration of `site` names. Raises PageError."""
    for host in site.hosts:
        if host.mounts:
            yield unavailable_name(host), _unavailable(host)
        text = robots_text(site, host)
        if text:
            yield robots_name(host), text.encode()


def _unavailable(host: Host) -> bytes:
    if host.unavailable is None:
        return ErrorPage(503, DEFAULT_TEXT).encode()
    return read_page(host, host.unavailable)


def read_page(host: Host, file: Path) -> bytes:
    """The site's own page, at most MAX_PAGE_BYTES. Raises PageError.

    Root reads it and everybody gets it, and who else may write to its folder could have put a link or a pipe there: so
    it is a file, and one that everybody may read.
    """
    where = f"host {host.name}: unavailable: {file}"
    try:
        number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(number, "rb") as stream:
            mode = os.fstat(number).st_mode
            if not stat.S_ISREG(mode):
                raise PageError(f"{where} is not a file")
            if not mode & stat.S_IROTH:
                raise PageError(f"{where} is not for everybody to read, and is shown to everybody: chmod o+r {file}")
            content = stream.read(MAX_PAGE_BYTES + 1)
    except OSError as error:
        raise PageError(f"{where}: {error.strerror}") from None
    if len(content) > MAX_PAGE_BYTES:
        raise PageError(f"{where} is larger than {MAX_PAGE_BYTES // 1024} KiB")
    return content


def robots_text(site: Site, host: Host) -> str:
    """What crawlers are told (RFC 9309); "" where nothing is kept from them, or the host has a robots.txt of its own.

    >>> print(robots_text(site, host), end="")
    User-agent: *
    Disallow: /notes$
    Disallow: /notes/
    """
    if _has_its_own(host):
        return ""
    if not host.robots:
        return "User-agent: *\nDisallow: /\n"
    kept_out = {mount.prefix for mount in host.mounts if not _may_index(site, mount.backend)}
    if not kept_out:
        return ""
    lines = ["User-agent: *"]
    if "" in kept_out:  # the longest rule wins: what lies below the root and may be indexed is named
        others = [mount.prefix for mount in host.mounts if mount.prefix and mount.prefix not in kept_out]
        others += [host.static_prefix] if host.static is not None and host.static_prefix else []
        lines += [f"Allow: {line}" for prefix in others for line in (f"{prefix}$", f"{prefix}/")]
        lines.append("Disallow: /")
    kept_below = sorted(prefix for prefix in kept_out if prefix)
    lines += [f"Disallow: {line}" for prefix in kept_below for line in (f"{prefix}$", f"{prefix}/")]
    within = [
        mount.prefix
        for mount in host.mounts
        if mount.prefix not in kept_out and any(mount.prefix.startswith(f"{prefix}/") for prefix in kept_below)
    ]
    lines += [f"Allow: {line}" for prefix in within for line in (f"{prefix}$", f"{prefix}/")]
    return "\n".join([*lines, ""])


def _may_index(site: Site, backend: str) -> bool:
    if backend in site.backends:
        return site.backends[backend].robots
    return backend not in site.foreign or site.foreign[backend].robots


def _has_its_own(host: Host) -> bool:
    """Whether its files, or a back end mounted right there, answer for /robots.txt."""
    if any(mount.prefix == "/robots.txt" for mount in host.mounts):
        return True
    return host.static is not None and host.static_prefix == "" and (host.static / "robots.txt").is_file()
