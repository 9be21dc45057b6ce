"""The site file and the site it describes.

>>> from framework import site
>>> appliance = site.load("site.toml")
>>> appliance.backends["status"].user
'appliance-status'

A back end imports `framework.site.tree` alone, so this package imports nothing until it is asked.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from framework.site.mounts import Mount
    from framework.site.problems import Level, Problem, SiteError
    from framework.site.schema import Backend, Host, Listen, Site
    from framework.site.tree import SiteTree

__all__ = ["Backend", "Host", "Level", "Listen", "Mount", "Problem", "Site", "SiteError", "SiteTree", "load"]

_HOMES = {
    **dict.fromkeys(("Level", "Problem", "SiteError"), "framework.site.problems"),
    **dict.fromkeys(("Backend", "Host", "Listen", "Site"), "framework.site.schema"),
    "Mount": "framework.site.mounts",
    "SiteTree": "framework.site.tree",
}


def load(path: str | Path, *, overrides: Mapping[str, Any] | None = None) -> Site:
    """Read a site file and check it.

    path       the file, or the folder that holds a ``site.toml``
    overrides  values that take the place of the keys of ``[site]``: ``{"listen": "127.0.0.1:9000"}``;
               also ``"development": True``

    Raises SiteError with *all* mistakes of the file. Nothing of the system is asked but whether the folders that the
    file names exist; `framework.site.check` asks the rest.
    """
    from framework.site.loader import load_site

    return load_site(path, overrides)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
