"""System users and groups of a site, made and removed by the system's own tools; no shell is involved.

An account made here has no password, no login shell and no home directory.
"""

from __future__ import annotations

import grp
import os
import pwd
import subprocess

from framework.process.runfiles import processes

__all__ = [
    "AccountError",
    "add_group",
    "add_user",
    "group_id",
    "members_of",
    "processes_of",
    "remove_group",
    "remove_user",
    "user_id",
]

NO_LOGIN = "/usr/sbin/nologin"
NO_HOME = "/nonexistent"
TOOL_DIRECTORIES = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")
TOOL_TIMEOUT = 60.0
"""Seconds that useradd and its like may take; they wait for a lock where another one runs."""


class AccountError(Exception):
    """A tool is missing or refused; holds its own words."""


def user_id(name: str) -> int | None:
    """The uid of a user; None where there is no such user."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str) -> int | None:
    """The gid of a group; None where there is no such group."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def members_of(gid: int) -> list[tuple[str, int]]:
    """The users, with their uids, whose primary group it is."""
    return [(account.pw_name, account.pw_uid) for account in pwd.getpwall() if account.pw_gid == gid]


def add_group(name: str) -> int:
    """Make a system group; returns its gid."""
    _run("groupadd", "--system", name)
    return grp.getgrnam(name).gr_gid


def add_user(name: str, group: str, comment: str) -> int:
    """Make a system user in an existing group; returns its uid."""
    _run(
        "useradd",
        *("--system", "--no-user-group", "--gid", group, "--no-create-home", "--home-dir", NO_HOME),
        *("--shell", NO_LOGIN, "--comment", comment, name),
    )
    return pwd.getpwnam(name).pw_uid


def remove_user(name: str) -> None:
    """Remove a user; files that belong to it stay."""
    _run("userdel", name)


def remove_group(name: str) -> None:
    """Remove a group."""
    _run("groupdel", name)


def processes_of(uid: int) -> list[int]:
    """The pids of the processes that run as this user; one that has ended and waits for its parent does not count."""
    return [pid for pid, _, _, owner in processes() if owner == uid]


def _run(tool: str, *arguments: str) -> None:
    program = next((path for folder in TOOL_DIRECTORIES if os.access(path := f"{folder}/{tool}", os.X_OK)), None)
    if program is None:
        raise AccountError(f"{tool} is not installed (Debian: apt-get install passwd)")
    try:
        done = subprocess.run(
            [program, *arguments],
            env={"PATH": ":".join(TOOL_DIRECTORIES), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TOOL_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise AccountError(f"{tool} took longer than {TOOL_TIMEOUT:g} s") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip() or f"exit code {done.returncode}"
        raise AccountError(f"{tool} refused: {said}")
