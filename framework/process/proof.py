"""Proof that a process has the rights that were declared, and none beside them, read from the kernel: /proc/PID/status.

Used in the child right after the drop, and again by the back end after exec. It loads nothing of what drops them.
Sources: proc(5), credentials(7), capabilities(7).
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["compare", "prove", "read_status"]


def read_status(pid: int | str = "self") -> dict[str, str]:
    """/proc/PID/status as a dictionary (proc(5))."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def prove(expected: Mapping[str, Any]) -> list[str]:
    """Every way in which the calling process differs from `expected` (`Privileges.to_spec()`); empty when it holds.

    Besides reading /proc/self/status it tries to become root, which must fail.
    """
    problems = compare(expected, read_status()) + _compare_limits(expected)
    return problems + _try_to_return(expected) + _try_to_look_out(expected)


def compare(expected: Mapping[str, Any], status: Mapping[str, str]) -> list[str]:
    """Every way in which a /proc status differs from `expected`."""
    problems = []

    def check(key: str, found: object, declared: object) -> None:
        if found != declared:
            problems.append(f"{key} is {found}, declared {declared}")

    for key, name in (("Uid", "uid"), ("Gid", "gid")):
        check(key, {int(text) for text in status[key].split()}, {expected[name]})
    check(
        "Groups",
        {int(text) for text in status["Groups"].split()} - {expected["gid"]},
        set(expected["groups"]) - {expected["gid"]},
    )
    sets = ("CapInh", "CapPrm", "CapEff", "CapAmb") + (("CapBnd",) if expected["switch"] else ())
    for key in sets:
        check(key, f"{int(status[key], 16):#x}", f"{expected['capabilities']:#x}")
    check("NoNewPrivs", status["NoNewPrivs"], "1")
    sandbox = expected.get("sandbox")
    if sandbox and sandbox["seccomp"]:
        check("Seccomp", status.get("Seccomp"), "2")
    return problems


def _compare_limits(expected: Mapping[str, Any]) -> list[str]:
    """What a process may change later is looked at before it can: the umask, and limits that it could only narrow."""
    umask = os.umask(0o077)
    os.umask(umask)
    declared = expected.get("umask", umask)
    problems = [] if umask == declared else [f"umask is {umask:03o}, declared {declared:03o}"]
    for kind, value in expected.get("limits", ()):
        for name, found in zip(("soft", "hard"), resource.getrlimit(kind), strict=True):
            if found == resource.RLIM_INFINITY or found > value:
                problems.append(f"the {name} limit of resource {kind} is {found}, declared {value}")
    return problems


def _try_to_return(expected: Mapping[str, Any]) -> list[str]:
    attempts: tuple[tuple[str, Callable[[], None]], ...] = (
        ("setuid(0)", lambda: os.setuid(0)),
        ("setgid(0)", lambda: os.setgid(0)),
        ("setgroups([0])", lambda: os.setgroups([0])),
    )
    problems = []
    for name, attempt in attempts:
        if name == "setgid(0)" and expected["gid"] == 0:
            continue  # a caller in group 0 that is not root: no change, so no escape
        try:
            attempt()
        except PermissionError:
            continue
        problems.append(f"{name} succeeded")
    return problems


def _try_to_look_out(expected: Mapping[str, Any]) -> list[str]:
    """Landlock shows nowhere in /proc: list a directory that everybody else may list."""
    closed = (expected.get("sandbox") or {}).get("closed")
    if not closed:
        return []
    try:
        os.listdir(closed)
    except PermissionError:
        return []
    return [f"the directory {closed} can be read, which the sandbox closes"]
