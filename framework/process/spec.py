"""What a back end is told: one JSON object, derived from the site by whoever starts it, read once by the back end.

The supervisor passes it as a sealed file in memory on descriptor 0; `sitectl dev` and systemd units may use a file.
A back end has no site file and needs none. Everything in a spec may be known to everybody: no secrets belong here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass

    from framework.site.schema import Site
else:
    from fastcore.values import dataclass

__all__ = ["MAX_SPEC_BYTES", "MAX_TABLE_BYTES", "Spec", "SpecError", "parse", "spec_of"]

VERSION = 4
MAX_SPEC_BYTES = 1 << 20
MAX_TABLE_BYTES = 256 * 1024
"""The largest URL table that is passed on."""


class SpecError(ValueError):
    """A spec that is no JSON object or lacks a key; the text names the key."""


def spec_of(
    site: Site,
    backend: str,
    *,
    allow_uids: Iterable[int] | None = None,
    urls_fd: int | None = None,
    scoreboard_fd: int | None = None,
    output_fd: int | None = None,
    privileges: Mapping[str, Any] | None = None,
    confinement: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The spec of one back end of a site, JSON-able.

    allow_uids     users who may connect to its socket; None for all whom the socket's mode lets in
    urls_fd        the descriptor on which it writes its URL table; None where nobody reads one
    scoreboard_fd  the descriptor of the memory in which its workers tell what they do; None where nobody looks
    output_fd      the first of the descriptors for what its workers print, two for each; None where all share 1 and 2
    privileges     what it must prove before it imports the application (`Privileges.to_spec()`)
    confinement    what it closes by itself before that, where nobody did it before exec (`units.confinement_of`)

    >>> spec_of(site, "status")["application"]
    'appliance.status:app'
    """
    from framework.site.tree import SiteTree

    declared = site.backends[backend]
    return {
        "version": VERSION,
        "site": site.name,
        "backend": backend,
        "application": declared.application,
        "path": [str(folder) for folder in declared.path],
        "workers": declared.workers,
        "min_workers": {"static": 0, "dynamic": declared.min_workers, "ondemand": 1}[declared.processes],
        "idle_exit": declared.idle_exit,
        "mounts": [[mount.host, mount.prefix] for mount in site.mounts if mount.backend == backend],
        "tree": SiteTree.of(site).to_spec(),
        "allow_uids": None if allow_uids is None else sorted(set(allow_uids)),
        "max_request_size": site.max_request_size,
        "development": site.development,
        "state_directory": str(declared.state_directory),
        "health": declared.health,
        "request_timeout": declared.request_timeout,
        "slow_request": declared.slow_request,
        "max_memory": declared.max_memory,
        "max_requests": declared.max_requests,
        "urls_fd": urls_fd,
        "scoreboard_fd": scoreboard_fd,
        "output_fd": output_fd,
        "privileges": dict(privileges) if privileges is not None else None,
        "confinement": dict(confinement) if confinement is not None else None,
    }


@dataclass(frozen=True, slots=True)
class Spec:
    """A checked spec, as the back end uses it. The fields are those of `spec_of`."""

    site: str
    backend: str
    application: str
    path: tuple[str, ...]
    workers: int
    min_workers: int
    idle_exit: int
    mounts: tuple[tuple[str, str], ...]
    tree: Mapping[str, Any]
    allow_uids: tuple[int, ...] | None
    max_request_size: int
    development: bool
    state_directory: str
    health: str
    request_timeout: int
    slow_request: int
    max_memory: int
    max_requests: int
    urls_fd: int | None
    scoreboard_fd: int | None
    output_fd: int | None
    privileges: Mapping[str, Any] | None
    confinement: Mapping[str, Any] | None


def parse(data: bytes) -> Spec:
    """Read a spec. Raises SpecError for anything that `spec_of` does not make."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"the spec is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise SpecError("the spec is not a JSON object")
    if raw.get("version") != VERSION:
        raise SpecError(
            f"the spec has version {raw.get('version')!r}, this program reads {VERSION}: restart the supervisor"
        )
    return Spec(
        site=_get(raw, "site", str),
        backend=_get(raw, "backend", str),
        application=_get(raw, "application", str),
        path=tuple(_items(raw, "path", str)),
        workers=_get(raw, "workers", int),
        min_workers=_get(raw, "min_workers", int),
        idle_exit=_get(raw, "idle_exit", int),
        mounts=tuple(_pair(item) for item in _items(raw, "mounts", list)),
        tree=_get(raw, "tree", dict),
        allow_uids=None if raw.get("allow_uids") is None else tuple(_items(raw, "allow_uids", int)),
        max_request_size=_get(raw, "max_request_size", int),
        development=_get(raw, "development", bool),
        state_directory=_get(raw, "state_directory", str),
        health=_get(raw, "health", str),
        request_timeout=_get(raw, "request_timeout", int),
        slow_request=_get(raw, "slow_request", int),
        max_memory=_get(raw, "max_memory", int),
        max_requests=_get(raw, "max_requests", int),
        urls_fd=_get_optional(raw, "urls_fd", int),
        scoreboard_fd=_get_optional(raw, "scoreboard_fd", int),
        output_fd=_get_optional(raw, "output_fd", int),
        privileges=_get_optional(raw, "privileges", dict),
        confinement=_get_optional(raw, "confinement", dict),
    )


def _get(raw: Mapping[str, Any], key: str, kind: type) -> Any:
    value = raw.get(key)
    if type(value) is not kind:
        raise SpecError(f"the spec's {key!r} is {value!r:.60}, not of type {kind.__name__}")
    return value


def _get_optional(raw: Mapping[str, Any], key: str, kind: type) -> Any:
    return None if raw.get(key) is None else _get(raw, key, kind)


def _items(raw: Mapping[str, Any], key: str, kind: type) -> list[Any]:
    values: list[Any] = _get(raw, key, list)
    for value in values:
        if type(value) is not kind:
            raise SpecError(f"the spec's {key!r} holds {value!r:.60}, not of type {kind.__name__}")
    return values


def _pair(item: list[Any]) -> tuple[str, str]:
    if len(item) != 2 or not all(isinstance(text, str) for text in item):
        raise SpecError(f"the spec's 'mounts' holds {item!r:.60}, not [host, prefix]")
    return item[0], item[1]
