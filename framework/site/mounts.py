"""A mount: the one thing that both the site file's schema and the URL tree of a running back end speak of."""

from __future__ import annotations

from typing import NamedTuple


class Mount(NamedTuple):
    """A back end at a URL prefix of a host. `prefix` is "/status", without a slash at its end, or "" for the root."""

    host: str
    prefix: str
    backend: str
