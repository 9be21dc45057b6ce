"""The URL tree of a site: which back end has a host and path, and which URL has a handler.

A back end has no site file: it gets the tree as plain values in its spec (`to_spec`, `from_spec`). The URL tables of
the other back ends are files, read when first needed and again when they change. They are written by other accounts, so
they are bounded, checked, and never give more than a path within the host that serves them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from framework.site.mounts import Mount

if TYPE_CHECKING:
    from fastcore.routing import Router
    from framework.site.schema import Site

MAX_TABLE_BYTES: Final = 256 * 1024
MAX_TABLE_ROUTES: Final = 4096
MAX_PATTERN: Final = 2048
"""Characters of one pattern of a URL table."""

MAX_ROUTES_OF_ONE_NAME: Final = 16
"""Routes of another back end that are compiled to find one URL."""

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class TreeHost(NamedTuple):
    """One host of the tree: all its names, and its mounts in the order of the site file."""

    names: tuple[str, ...]
    default: bool
    mounts: tuple[Mount, ...]


class SiteTree:
    """The tree of one site.

    >>> tree = SiteTree.of(site)
    >>> tree.find("console.localhost:8080", "/status/disks")
    (Mount(host='console.localhost', prefix='/status', backend='status'), '/disks')
    >>> tree.url("notes:edit", {"id": 7}, host="console.localhost:8080", scheme="http", backend="status")
    '/notes/7/edit'
    """

    def __init__(self, hosts: Iterable[TreeHost], *, port: int, tables: Mapping[str, str]) -> None:
        self.hosts = tuple(hosts)
        self.port = port
        self.tables = dict(tables)
        self._by_name = {name: host for host in self.hosts for name in host.names}
        wildcards = [(name[1:], host) for name, host in self._by_name.items() if name.startswith("*.")]
        self._wildcards = sorted(wildcards, key=lambda each: -len(each[0]))
        self._default = next((host for host in self.hosts if host.default), self.hosts[0] if self.hosts else None)
        self._longest_first = {
            host.names[0]: sorted(host.mounts, key=lambda mount: len(mount.prefix), reverse=True) for host in self.hosts
        }
        self._read: dict[str, _Table] = {}

    @classmethod
    def of(cls, site: Site) -> SiteTree:
        """The tree of a loaded site."""
        hosts = (TreeHost(host.names, host.default, host.mounts) for host in site.hosts)
        tables = {name: str(site.urls_path(name)) for name in site.backends}
        return cls(hosts, port=site.listen.port, tables=tables)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> SiteTree:
        """The tree from what `to_spec` gave, after its way through JSON."""
        hosts = []
        for host in spec["hosts"]:
            names = tuple(host["names"])
            mounts = tuple(Mount(names[0], prefix, backend) for prefix, backend in host["mounts"])
            hosts.append(TreeHost(names, bool(host["default"]), mounts))
        return cls(hosts, port=int(spec["port"]), tables=spec["tables"])

    def to_spec(self) -> dict[str, Any]:
        """The tree as values that JSON can carry."""
        return {
            "port": self.port,
            "tables": self.tables,
            "hosts": [
                {
                    "names": list(host.names),
                    "default": host.default,
                    "mounts": [[mount.prefix, mount.backend] for mount in host.mounts],
                }
                for host in self.hosts
            ],
        }

    def host_of(self, authority: str) -> TreeHost | None:
        """The host that answers for a Host header's value; the default one for an unknown name; None without hosts.

        A name as it is goes before a wildcard, a longer wildcard before a shorter one.
        """
        name = split_authority(authority)[0]
        host = self._by_name.get(name)
        if host is None:
            found = (host for suffix, host in self._wildcards if name.endswith(suffix) and len(name) > len(suffix))
            host = next(found, self._default)
        return host

    def find(self, host: str, path: str) -> tuple[Mount, str] | None:
        """The back end for a Host header's value and a decoded path, and the rest of the path; the longest prefix wins.

        A prefix takes itself and what lies below it: "/status" takes "/status" (rest "") and "/status/x" (rest "/x"),
        never "/statusx". Static folders are not looked at: their host's `static_prefix` goes before this.
        """
        found = self.host_of(host)
        if found is None:
            return None
        for mount in self._longest_first[found.names[0]]:
            if path.startswith(mount.prefix) and path[len(mount.prefix) :][:1] in ("", "/"):
                return mount, path[len(mount.prefix) :]
        return None

    def url(
        self, reference: str | Callable[..., Any], params: Mapping[str, Any], *, host: str, scheme: str, backend: str
    ) -> str:
        """The URL of a handler: a path where the request's own host serves its back end, else scheme, host and path.

        reference  "backend:name"; "name" or a handler object for the calling back end's own
        host       the Host header's value of the request that asks; its port is kept for other hosts
        backend    the back end that asks

        Raises UnknownHandler where there is no such back end or handler, or nobody mounts it; ValueError where the
        parameters do not fit.
        """
        owner, name = self._split_reference(reference, backend)
        path = self._path_in(owner, name, params)
        current = self.host_of(host)
        if current is not None:
            for mount in current.mounts:
                if mount.backend == owner:
                    return mount.prefix + path
        for other in self.hosts:
            for mount in other.mounts:
                if mount.backend == owner:
                    return f"{scheme}://{mount.host}{self._port_part(host, scheme)}{mount.prefix}{path}"
        raise _unknown(f"no host of the site mounts the back end {owner!r}, so {name!r} has no URL")

    def _split_reference(self, reference: str | Callable[..., Any], backend: str) -> tuple[str, str]:
        if not isinstance(reference, str):
            return backend, f"{reference.__module__}.{getattr(reference, '__qualname__', type(reference).__qualname__)}"
        owner, colon, name = reference.partition(":")
        if not colon:
            owner, name = backend, reference
        if owner not in self.tables:
            known = ", ".join(sorted(self.tables))
            raise _unknown(f"{reference!r}: the site has no back end {owner!r}; it has {known}")
        return owner, name

    def _path_in(self, owner: str, name: str, params: Mapping[str, Any]) -> str:
        from fastcore.routing import RoutingError, UnknownTargetError

        table = self._table_of(owner)
        try:
            router = table.router_for(name)
            path = router.url(name, **{key: _plain(value) for key, value in params.items()})
        except UnknownTargetError:
            known = ", ".join(sorted({row[2] for row in table.rows if row[2]})) or "none"
            raise _unknown(f"the back end {owner!r} has no handler {name!r}; its names: {known}") from None
        except RoutingError as error:
            raise ValueError(f"{owner}:{name}: {error}") from None
        if not re.fullmatch(r"/(?!/)[!-~]*", path) or "\\" in path:
            raise _unknown(f"the back end {owner!r} gives {name!r} the path {path!r}, which no host can serve")
        return path

    def _table_of(self, backend: str) -> _Table:
        file = self.tables[backend]
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _unknown(
                f"the URLs of the back end {backend!r} are not known (yet): {file}: {error.strerror}"
            ) from None
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise _unknown(f"the URL table {file} is not a regular file")
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._read.get(backend)
            if known is None or known.version != version:
                known = self._read[backend] = _Table(version, stream.read(MAX_TABLE_BYTES + 1), file)
        return known

    def _port_part(self, authority: str, scheme: str) -> str:
        name, port = split_authority(authority)
        if not name:
            port = str(self.port)
        return "" if port in ("", _DEFAULT_PORTS.get(scheme)) else f":{port}"


def split_authority(authority: str) -> tuple[str, str]:
    """A Host header's value as (name, port): lower case, no dot at the end; ("", "") where it is malformed.

    >>> split_authority("Console.localhost.:8080")
    ('console.localhost', '8080')
    """
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]\s/?#@\\]+)(?::([0-9]{1,5}))?", authority)
    if match is None:
        return "", ""
    return match[1].lower().removesuffix("."), match[2] or ""


def read_table(content: bytes) -> list[tuple[str, str, str | None]]:
    """The routes of a URL table, (pattern, handler, name) each. Raises ValueError, with the reason, for all else."""
    import json

    if len(content) > MAX_TABLE_BYTES:
        raise ValueError(f"it is larger than {MAX_TABLE_BYTES // 1024} KiB")
    try:
        rows = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from None
    if not isinstance(rows, list) or len(rows) > MAX_TABLE_ROUTES:
        raise ValueError(f"it is not a list of at most {MAX_TABLE_ROUTES} routes")
    return [_check_row(row) for row in rows]


def _check_row(row: object) -> tuple[str, str, str | None]:
    if not isinstance(row, dict):
        raise ValueError("a route is not an object")
    pattern, handler, name = row.get("pattern"), row.get("handler"), row.get("name")
    if not isinstance(pattern, str) or not isinstance(handler, str) or not isinstance(name, str | None):
        raise ValueError('a route is not {"pattern": text, "handler": text, "name": text or null}')
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern is longer than {MAX_PATTERN} characters")
    return pattern, handler, name or None


class _Table:
    """The routes of another back end. Only what is asked for is compiled: a pattern may cost its reader much."""

    def __init__(self, version: tuple[int, ...], content: bytes, file: str) -> None:
        self.version = version
        self.file = file
        self._routers: dict[str, Router] = {}
        try:
            self.rows = read_table(content)
        except ValueError as error:
            raise _unknown(f"the URL table {file} cannot be used: {error}") from None

    def router_for(self, name: str) -> Router:
        """A router of the routes with this name or handler. A pattern that this process cannot read is left out."""
        router = self._routers.get(name)
        if router is None:
            router = self._routers[name] = self._make_router(name)
        return router

    def _make_router(self, name: str) -> Router:
        from fastcore.routing import PatternError, Router, UnknownTargetError

        asked = [row for row in self.rows if name in row[1:]][:MAX_ROUTES_OF_ONE_NAME]
        if not asked:
            raise UnknownTargetError(name)
        rows: list[Sequence[Any]] = [row if row[2] else row[:2] for row in asked]
        while True:
            try:
                return Router(rows)
            except PatternError as error:
                index = getattr(error, "index", None)
                if not isinstance(index, int) or not 0 <= index < len(rows):
                    raise _unknown(f"the URL table {self.file} cannot be used: {error}") from None
                del rows[index]


def _plain(value: Any) -> Any:
    """As an application's own table takes it: an Enum member stands for its value, a bool is lower case."""
    if isinstance(value, Enum):
        value = value.value
    return str(value).lower() if isinstance(value, bool) else value


def _unknown(message: str) -> Exception:
    from framework.urls import UnknownHandler

    return UnknownHandler(message)
