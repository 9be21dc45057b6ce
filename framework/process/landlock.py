"""Which files a process may open, by the kernel's Landlock: all that is not listed is refused, whatever its mode says.

`restrict` runs in the child as its user, after all other steps. Symbolic links are followed when a rule is made, so
a rule holds for the file or directory itself. What older kernels cannot refuse is told by `shortcomings`. Not
governed by Landlock: looking whether a path exists (stat), and sockets with a path. Source: landlock(7).
"""

from __future__ import annotations

import os
import stat

from fastcore.values import dataclass
from framework.process import linux

__all__ = ["Access", "restrict", "shortcomings"]

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIRECTORY = 1 << 3
CHANGE_DIRECTORY = 0x1FF0  # remove and make entries of every kind
DEVICES = 1 << 6 | 1 << 11  # to make character and block devices: never allowed
REFER = 1 << 13  # to move or link from one directory into another
TRUNCATE = 1 << 14
DEVICE_IOCTL = 1 << 15

READ = READ_FILE | READ_DIRECTORY
WRITE = READ | WRITE_FILE | (CHANGE_DIRECTORY & ~DEVICES) | REFER | TRUNCATE
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICE_IOCTL
"""The rights that a rule about something that is no directory may name."""

TCP = 0b11  # bind and connect
SCOPES = 0b11  # abstract unix sockets, and signals to processes outside

_SINCE = (
    (1, "files are closed by their modes and owners only: this kernel has no Landlock"),
    (3, "a file that may not be written can still be emptied (truncate)"),
    (4, "TCP is not refused by Landlock"),
    (6, "processes of the same user outside can be sent signals, and abstract unix sockets be reached"),
)


@dataclass(frozen=True, slots=True)
class Access:
    """What may be opened: absolute paths of files or of whole trees. `tcp` leaves TCP alone.

    read, write  as declared: each must be there, else the process does not start
    execute      programs
    list         folders whose entries may be listed, and those below them, but not read
    usual        what an interpreter reads of the system, each only where it is there
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    execute: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    usual: tuple[str, ...] = ()
    tcp: bool = False


def shortcomings(version: int) -> list[str]:
    """What Landlock of this version cannot refuse, in words; empty for a recent kernel."""
    return [text for since, text in _SINCE if version < since]


def restrict(access: Access) -> None:
    """Refuse the calling process, and all it starts, every file that is not listed.

    Does nothing on a kernel without Landlock. Raises OSError that names the path or the call. There is no way back.
    """
    version = linux.landlock_version()
    if not version:
        return
    files = (1 << (13, 14, 15, 15)[min(version, 4) - 1]) - 1
    if version >= 5:
        files |= DEVICE_IOCTL
    handled = (files, 0 if access.tcp else TCP, SCOPES)[: 1 if version < 4 else 2 if version < 6 else 3]
    ruleset = linux.landlock_ruleset(handled)
    try:
        for path in (*access.usual, "/proc/self"):
            _allow(ruleset, path, READ & files, optional=True)
        for path in ("/dev/null", "/dev/zero"):
            _allow(ruleset, path, (READ_FILE | WRITE_FILE) & files, optional=True)
        for path in access.list:
            _allow(ruleset, path, READ_DIRECTORY)
        for path in access.read:
            _allow(ruleset, path, READ & files)
        for path in access.write:
            _allow(ruleset, path, WRITE & files)
        for path in access.execute:
            _allow(ruleset, path, (EXECUTE | READ_FILE) & files)
        linux.landlock_restrict(ruleset)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int, *, optional: bool = False) -> None:
    try:
        number = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        if optional:
            return
        raise
    try:
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            rights &= OF_FILES
        linux.landlock_allow(ruleset, number, rights)
    finally:
        os.close(number)
