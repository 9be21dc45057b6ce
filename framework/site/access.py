"""Who may do what with a file, by owner, group and mode; and which account that is.

Answers come from `stat`, so nothing is opened and nobody's rights are taken. Where a file has an access control list
the answer is "yes": only the kernel could tell, and a false alarm helps nobody.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from typing import Final, NamedTuple

READ: Final = 4
WRITE: Final = 2
ENTER: Final = 1


class Account(NamedTuple):
    """A user as the kernel sees a process of theirs; uid -1 and no groups for one that does not exist yet."""

    name: str
    uid: int
    groups: frozenset[int]


def user_exists(name: str) -> bool:
    """True where there is a user of this name."""
    return _uid_of(name) >= 0


def group_exists(name: str) -> bool:
    """True where there is a group of this name."""
    return bool(_gids_of(name))


def members_of(group: str) -> frozenset[str]:
    """The users who have this group beside their own; none where there is no such group."""
    try:
        return frozenset(grp.getgrnam(group).gr_mem)
    except KeyError:
        return frozenset()


def find_account(user: str, *groups: str) -> Account:
    """The account of a process that runs as `user` with these groups and no others."""
    return Account(user, _uid_of(user), frozenset[int]().union(*map(_gids_of, groups)))


def may(account: Account, path: Path, wanted: int) -> bool:
    """True where `account` has the rights `wanted` on `path` itself, whatever lies above it. Raises OSError."""
    status = path.stat()
    if account.uid == 0 or _has_access_list(path):
        return True
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid == account.uid:
        granted = mode >> 6
    elif status.st_gid in account.groups:
        granted = mode >> 3
    else:
        granted = mode
    return granted & wanted == wanted


def first_closed(account: Account, path: Path) -> Path | None:
    """The first folder above `path` that `account` cannot enter; None where the way is open. Raises OSError."""
    for folder in reversed(path.parents):
        if not may(account, folder, ENTER):
            return folder
    return None


def writable_by_others(path: Path) -> bool:
    """True where everybody may add or replace entries of this folder, or write this file. Raises OSError."""
    mode = path.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def _has_access_list(path: Path) -> bool:
    try:
        return bool(os.getxattr(path, "system.posix_acl_access"))
    except OSError:
        return False


def _uid_of(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return -1


def _gids_of(group: str) -> frozenset[int]:
    try:
        return frozenset([grp.getgrnam(group).gr_gid])
    except KeyError:
        return frozenset()
