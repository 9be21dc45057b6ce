"""flup's options: read, checked, and told about where they have no meaning. No sockets here.

An option is warned about once in a process, with the caller's line, and only if it was given.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Mapping
from typing import Any

from fastcore.addresses import WEB_SERVER_ADDRESSES, FdAddress, TcpAddress, UnixAddress, allowed_addresses

DEFAULT_CHILDREN = 5  # what flup's fork server has ready when nothing else is said: its maxSpare

_NO_THREADS = "there are no threads: a worker answers one request after the other; for more at once give maxChildren"
_FIXED = "the number of workers is fixed: maxChildren, else maxSpare"
_COMPILED = "requests are read and answered by fastcore's own loop"

MEANINGLESS: Mapping[str, str] = {
    "multithreaded": _NO_THREADS,
    "minSpare": _FIXED,
    "maxThreads": _NO_THREADS,
    "sockTimeout": "sockets never block here; time-outs are fields of `limits` (fastcore.Limits)",
    "requestClass": _COMPILED,
    "request_class": _COMPILED,
    "cgirequest_class": _COMPILED,
    "jobClass": _COMPILED,
    "jobArgs": _COMPILED,
    "maxwrite": "records are as long as the protocol allows",
    "inputStreamShrinkThreshold": "bodies are kept whole: limits.body_memory bytes in memory, longer ones in a file",
}


class FlupOptionWarning(UserWarning):
    """An option of flup's was given that has no meaning in fastcore; the text says why and what there is instead."""


_told: set[str] = set()


def tell(option: str, why: str) -> None:
    """Warn about `option`, once in this process, at the line outside of this package that is responsible."""
    if option in _told:
        return
    warnings.warn(f"{option}: {why}", FlupOptionWarning, stacklevel=_stack_level())
    _told.add(option)


def _stack_level() -> int:
    level = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fastcore.flup"):
        frame = frame.f_back
        level += 1
    return level


def positive(option: str, value: Any, least: int = 1) -> int:
    """`value` as a whole number of at least `least`. Raises ValueError with the option's name."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{option} is a whole number of {least} or more, not {value!r}")
    return value


def count_workers(given: Mapping[str, Any], *, forks: bool) -> int:
    """How many processes serve: `maxChildren` where it is given, else, in the fork server, `maxSpare`, else one.

    flup's fork server has between maxSpare and maxChildren children; a fixed number has to be ready for its most.
    Raises ValueError for what flup refuses.
    """
    spare = positive("maxSpare", given["maxSpare"]) if "maxSpare" in given else None
    if "minSpare" in given and positive("minSpare", given["minSpare"]) > (spare or DEFAULT_CHILDREN):
        raise ValueError("maxSpare must not be less than minSpare")
    if "maxChildren" in given:
        if spare is not None:
            tell("maxSpare", f"{_FIXED}; maxChildren was given")
        return positive("maxChildren", given["maxChildren"])
    if not forks:
        if spare is not None:
            tell("maxSpare", _NO_THREADS)
        return 1
    return spare or DEFAULT_CHILDREN


def listen_address(bind_address: Any) -> FdAddress | TcpAddress | UnixAddress:
    """flup's `bindAddress`: None for the listener at descriptor 0, a path, or (host, port).

    An empty host is every interface. Raises TypeError for another type, AddressError for what is no address.
    """
    if bind_address is None:
        return FdAddress(0)
    if isinstance(bind_address, (str, os.PathLike)):
        return UnixAddress(os.fspath(bind_address))
    if not isinstance(bind_address, (tuple, list)) or not 2 <= len(bind_address) <= 4:
        raise TypeError(f"bindAddress is None, a path or (host, port), not {bind_address!r}")
    host, port, *more = bind_address
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"bindAddress is None, a path or (host, port), not {bind_address!r}")
    if not host:
        host = "::" if more else "0.0.0.0"
    if len(more) == 2 and more[1]:
        host = f"{host}%{more[1]}"
    return TcpAddress(host, port)


def allowed_hosts(allowed_servers: Collection[str] | str | None) -> frozenset[str] | None:
    """Who may connect over TCP: `allowedServers`, else FCGI_WEB_SERVER_ADDRS, else None for this machine only."""
    if allowed_servers is not None:
        texts = allowed_servers.split(",") if isinstance(allowed_servers, str) else allowed_servers
        return allowed_addresses(texts, "allowedServers")
    value = os.environ.get(WEB_SERVER_ADDRESSES)
    return None if value is None else allowed_addresses(value.split(","), WEB_SERVER_ADDRESSES)


def is_loopback(host: str) -> bool:
    """Whether a listener on this host is reached from this machine only."""
    return host in ("localhost", "::1", "ip6-localhost") or host.startswith("127.")


def socket_mode(umask: Any) -> int:
    """Permission bits of a unix socket under `umask`, or under the process's where it is None."""
    if umask is None:
        umask = os.umask(0o077)
        os.umask(umask)
    elif positive("umask", umask, least=0) > 0o777:
        raise ValueError(f"umask is a number from 0 to 0o777, not {umask:#o}")
    return 0o777 & ~int(umask)
