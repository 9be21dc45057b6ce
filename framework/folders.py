"""Folders in which root writes: reached so that nobody else can lead it to another place."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection
from pathlib import Path

__all__ = ["open_folder"]

MAX_LINKS = 40


def open_folder(folder: Path, trusted: Collection[int]) -> int:
    """A descriptor of this folder, whose links are those of the trusted users alone. Raises OSError."""
    todo = list(reversed(folder.parts[1:]))
    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    links = 0
    try:
        while todo:
            part = todo.pop()
            number = os.open(part, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            found = os.fstat(number)
            if stat.S_ISLNK(found.st_mode):
                target = os.readlink("", dir_fd=number)
                os.close(number)
                links += 1
                if found.st_uid not in trusted or links > MAX_LINKS:
                    raise OSError(errno.ELOOP, f"{part} is a symbolic link that uid {found.st_uid} made")
                todo += reversed([each for each in target.split("/") if each not in ("", ".")])
                if target.startswith("/"):
                    os.close(here)
                    here = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                continue
            os.close(here)
            here = number
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
    finally:
        os.close(here)
