"""Where a site keeps its files when somebody without root runs it: in the caller's own places (XDG).

`/run` and `/var/lib` belong to root. Without root the run directory goes to $XDG_RUNTIME_DIR, or to a private
folder of the caller's in the temporary directory, and state to $XDG_STATE_HOME (~/.local/state). What the site file
names and the caller may write stays.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastcore.values import replace

if TYPE_CHECKING:
    from framework.site.schema import Site

__all__ = ["control_path", "for_caller", "make_state_directories"]


def for_caller(site: Site) -> Site:
    """The site as root runs it, unchanged; for others with directories that they may write to.

    >>> for_caller(site).run_directory  # doctest: +SKIP
    PosixPath('/run/user/1000/appliance')
    """
    if os.geteuid() == 0:
        return site
    run = site.run_directory if _may_make(site.run_directory) else _runtime_directory() / site.name
    if _may_make(site.state_directory):
        return replace(site, run_directory=run)
    state = _state_home() / site.name
    backends = {
        name: replace(
            backend, state_directory=_moved(backend.state_directory, site.state_directory, state / name, state)
        )
        for name, backend in site.backends.items()
    }
    return replace(site, run_directory=run, state_directory=state, backends=backends)


def control_path(site: Site) -> Path:
    """The control socket that the caller may ask: root's, where its control_group lets them in, else their own."""
    if os.geteuid() != 0 and os.access(site.control_path, os.W_OK):
        return site.control_path
    return for_caller(site).control_path


def _may_make(directory: Path) -> bool:
    """Whether the caller can make it, or owns it already."""
    if directory.exists():
        return directory.stat().st_uid == os.geteuid() and os.access(directory, os.W_OK)
    parent = next(folder for folder in directory.parents if folder.exists())
    return os.access(parent, os.W_OK | os.X_OK)


def _moved(directory: Path, old: Path, otherwise: Path, new: Path) -> Path:
    if directory.is_relative_to(old):
        return new / directory.relative_to(old)
    return directory if _may_make(directory) else otherwise


def _runtime_directory() -> Path:
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    if named.startswith("/") and os.access(named, os.W_OK):
        return Path(named)
    # /tmp belongs to all: the folder is made private, and RunDirectory refuses one that is not the caller's own.
    import tempfile

    private = Path(tempfile.gettempdir()) / f"sites-{os.geteuid()}"
    private.mkdir(mode=0o700, exist_ok=True)
    found = private.lstat()
    if private.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(13, "is not a private folder of yours: remove it, or set XDG_RUNTIME_DIR", str(private))
    return private


def _state_home() -> Path:
    named = os.environ.get("XDG_STATE_HOME", "")
    return Path(named) if named.startswith("/") else Path.home() / ".local" / "state"


def make_state_directories(site: Site) -> None:
    """Make the state directories of a caller without root, who needs no setup: 0700 and its own."""
    for backend in site.backends.values():
        backend.state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
