"""Where a back end stands in its site: which part of a full path is its prefix and which its own path.

Front ends split SCRIPT_NAME and PATH_INFO as they please (nginx gives all in the one, Caddy all in the other), so a
mounted application joins both and takes its own prefix off. An application that no site has mounted believes
SCRIPT_NAME.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framework.request import Request
    from framework.urls import Resolver

ANY_HOST = "*"


class Mounts:
    """The (host, prefix) pairs at which one back end is mounted; a host of "*" is any.

    Example: ``Mounts([("a.example", "/status")])`` splits "/status/x" into ("/status", "/x").
    """

    __slots__ = ("_all", "_backend", "_by_host", "_only", "_resolver")

    def __init__(self, mounts: Iterable[Sequence[str]], resolver: Resolver | None = None, backend: str = "") -> None:
        """Raises ValueError for a prefix that does not begin with "/" or ends with one ("" is the root of a host)."""
        self._resolver = resolver
        self._backend = backend
        self._by_host: dict[str, list[str]] = {}
        prefixes: set[str] = set()
        for host, prefix in mounts:
            prefix = check_prefix(prefix)
            prefixes.add(prefix)
            self._by_host.setdefault(host.lower(), []).append(prefix)
        self._all = sorted(prefixes, key=len, reverse=True)
        self._only = self._all[0] if len(self._all) == 1 else None
        for own in self._by_host.values():
            own.sort(key=len, reverse=True)

    def split(self, request: Request) -> tuple[str, str] | None:
        """Prefix and own path of a request; None where it is not below a prefix. A port in its host is ignored."""
        only, full_path = self._only, request.full_path
        if only is not None:
            return _take(only, full_path)
        for prefix in self._candidates(request.host, full_path):
            found = _take(prefix, full_path)
            if found is not None:
                return found
        return None

    def _candidates(self, host: str, full_path: str) -> Iterable[str]:
        """The prefixes to try: the host's own, else those that the site's tree names, else all; the longest first."""
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        own = self._by_host.get(name) or self._by_host.get(host)
        if own is not None:
            return own
        if self._resolver is not None:
            found = self._resolver.find(host, full_path)
            if found is not None and found[0].backend == self._backend:
                return (found[0].prefix,)
        return self._by_host.get(ANY_HOST, self._all)


def check_prefix(prefix: str) -> str:
    """`prefix` without a slash at its end; ValueError where it is neither "" nor begins with "/"."""
    if prefix and not prefix.startswith("/"):
        raise ValueError(f"a mount prefix begins with '/', or is '' for the root of a host: {prefix!r}")
    return prefix.rstrip("/")


def _take(prefix: str, full_path: str) -> tuple[str, str] | None:
    if not prefix:
        return "", full_path or "/"
    if not full_path.startswith(prefix):
        return None
    path = full_path[len(prefix) :]
    return (prefix, path) if not path or path[0] == "/" else None
