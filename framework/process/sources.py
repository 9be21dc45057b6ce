"""The source files of a site, so that a change is noticed: found by looking, a bounded number of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["MAX_FILES", "Stamp", "lies_below", "source_files", "stamp"]

MAX_FILES: Final = 5000
"""Files watched at most."""
MAX_FOLDERS: Final = 1000
SKIPPED_FOLDERS: Final = frozenset(("__pycache__", "node_modules", "site-packages", "build", "dist"))

Stamp = tuple[int, int]
"""Time of the last change in ns, and size in bytes."""


def source_files(folders: Iterable[str]) -> tuple[dict[str, Stamp], bool]:
    """The Python files below these folders with time and size, and whether that is all of them.

    At most `MAX_FILES`; hidden folders, caches and installed packages are left out, symbolic links not followed.
    """
    found: dict[str, Stamp] = {}
    waiting = list(folders)
    for visited, folder in enumerate(waiting):
        if visited >= MAX_FOLDERS or len(found) >= MAX_FILES:
            return found, False
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and entry.name not in SKIPPED_FOLDERS:
                        waiting.append(entry.path)
                elif entry.name.endswith(".py"):
                    found[entry.path] = stamp(entry.stat())
    return found, True


def stamp(facts: os.stat_result) -> Stamp:
    """What tells one content of a file from another."""
    return facts.st_mtime_ns, facts.st_size


def lies_below(file: str, folders: Iterable[Path]) -> bool:
    """Whether a file lies in one of these folders, at any depth."""
    return any(Path(file).is_relative_to(folder) for folder in folders)
