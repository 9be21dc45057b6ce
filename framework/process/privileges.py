"""What rights a process of the site has: resolved in the parent, applied in the child by one ordered list, then proved.

`resolve` turns names into numbers before anything is forked. `STEPS` is the list, in the only order that works;
each step raises OSError when the kernel refuses it, and nothing after it runs. `prove` reads the result back from
the kernel, in the child after the drop and again by the back end after exec: a process that can do more than
declared does not start. The steps only ever narrow; there is no way back to root. Sources: credentials(7),
capabilities(7), prctl(2).
"""

from __future__ import annotations

import grp
import os
import pwd
import resource
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastcore.values import dataclass, field
from framework.process import landlock, linux
from framework.process.proof import prove, read_status
from framework.process.sandbox import Sandbox
from framework.process.view import View

__all__ = ["STEPS", "Drop", "PrivilegeError", "Privileges", "apply", "caller", "environment", "resolve"]

BACKEND_UMASK = 0o077
FRONTEND_UMASK = 0o027
SETPCAP = 1 << linux.CAPABILITIES["setpcap"]
MAX_OPEN_FILES = 4096
MAX_PROCESSES = 512
"""Processes and threads of one user, as the kernel counts them (RLIMIT_NPROC): a fork bomb stops here."""

SECURE_BITS = (
    linux.SECBIT_NOROOT
    | linux.SECBIT_NOROOT_LOCKED
    | linux.SECBIT_NO_SETUID_FIXUP_LOCKED
    | linux.SECBIT_KEEP_CAPS_LOCKED
    | linux.SECBIT_NO_CAP_AMBIENT_RAISE
    | linux.SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED
)
"""uid 0 means nothing any more, no capability outlives a change of ids, none becomes ambient; for good."""

PASSED_ENVIRONMENT = ("FASTCORE_PURE", "FASTCORE_REQUIRE_COMPILED", "TZ")
"""The caller's variables that a child is given; everything else it has is listed by name."""


class PrivilegeError(Exception):
    """A name that does not exist, a step that the kernel refused, or an end state that is not as declared."""


@dataclass(frozen=True, slots=True)
class Privileges:
    """Resolved rights of one process. `switch` is False where the caller is not root, so that no id can change."""

    user: str
    group: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: int = 0
    umask: int = BACKEND_UMASK
    switch: bool = True
    limits: tuple[tuple[int, int], ...] = ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, MAX_OPEN_FILES))
    nice: int = 0
    sandbox: Sandbox | None = None

    def to_spec(self) -> dict[str, Any]:
        """What `prove` needs to know after exec, as JSON-able data."""
        return {
            "user": self.user,
            "uid": self.uid,
            "gid": self.gid,
            "groups": list(self.groups),
            "capabilities": self.capabilities,
            "switch": self.switch,
            "umask": self.umask,
            "limits": [list(limit) for limit in self.limits],
            "sandbox": self.sandbox.to_spec() if self.sandbox is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Drop:
    """What the steps need in the child: its rights, what it sees, where it starts, which descriptors it keeps."""

    privileges: Privileges
    parent: int
    directory: str = "/"
    view: View | None = None
    keep: frozenset[int] = field(default_factory=lambda: frozenset((0, 1, 2)))


def resolve(
    user: str,
    group: str | None = None,
    *,
    groups: Iterable[str] = (),
    capabilities: tuple[str, ...] = (),
    umask: int = BACKEND_UMASK,
) -> Privileges:
    """The rights of `user` with `group` (default: its own) as primary group.

    Supplementary are the groups that /etc/group gives the user, and `groups`. Raises PrivilegeError for a name that
    does not exist, for uid 0, and for an unknown capability.

    >>> resolve("www-data").uid  # doctest: +SKIP
    33
    """
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise PrivilegeError(f"user {user!r} does not exist: 'sitectl setup' creates the users of a site") from None
    try:
        gid = grp.getgrnam(group).gr_gid if group else account.pw_gid
    except KeyError:
        raise PrivilegeError(f"group {group!r} does not exist: 'sitectl setup' creates the groups of a site") from None
    supplementary = tuple(sorted({*os.getgrouplist(user, gid), *map(_group_number, groups)}))
    if account.pw_uid == 0 or 0 in supplementary:
        raise PrivilegeError(f"{user!r} is root: nothing of a site but its supervisor may run with uid 0 or gid 0")
    try:
        mask = linux.capability_mask(capabilities)
    except ValueError as error:
        raise PrivilegeError(str(error)) from None
    limits = (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
        (resource.RLIMIT_NPROC, MAX_PROCESSES),
    )
    group_name = group or _group_name(gid)
    return Privileges(user, group_name, account.pw_uid, gid, supplementary, mask, umask, True, limits)


def _group_number(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise PrivilegeError(f"group {name!r} does not exist: 'groupadd --system {name}' makes it") from None


def caller(*, umask: int = BACKEND_UMASK) -> Privileges:
    """The rights of the calling user, for a site without root: no id changes, no capabilities, no new privileges."""
    uid, gid = os.getuid(), os.getgid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Privileges(name, _group_name(gid), uid, gid, tuple(sorted(os.getgroups())), 0, umask, switch=False)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


# ---- the steps, in order -------------------------------------------------------------------------


def _new_session(drop: Drop) -> None:
    os.setsid()


def _umask(drop: Drop) -> None:
    os.umask(drop.privileges.umask)


def _resource_limits(drop: Drop) -> None:
    for kind, value in drop.privileges.limits:
        hard = resource.getrlimit(kind)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))


def _nice(drop: Drop) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, drop.privileges.nice)


def _mount_view(drop: Drop) -> None:
    if drop.view is not None:
        drop.view.enter()


def _namespaces(drop: Drop) -> None:
    if drop.privileges.sandbox is not None:
        drop.privileges.sandbox.enter_namespaces(has_view=drop.view is not None)


def _supplementary_groups(drop: Drop) -> None:
    if drop.privileges.switch:
        os.setgroups(drop.privileges.groups)


def _bounding_set(drop: Drop) -> None:
    if drop.privileges.switch:
        linux.drop_bounding(drop.privileges.capabilities)


def _group(drop: Drop) -> None:
    if drop.privileges.switch:
        os.setresgid(*[drop.privileges.gid] * 3)


def _user(drop: Drop) -> None:
    if drop.privileges.switch:
        linux.keep_capabilities(True)
        os.setresuid(*[drop.privileges.uid] * 3)


def _ambient_capabilities(drop: Drop) -> None:
    mask = drop.privileges.capabilities
    kept = mask | (SETPCAP if drop.privileges.switch else 0)
    linux.set_capabilities(kept, kept, mask)
    linux.raise_ambient(mask)


def _secure_bits(drop: Drop) -> None:
    # With the last of CAP_SETPCAP, after the ambient set, which cannot be raised from here on.
    if drop.privileges.switch:
        linux.set_secure_bits(SECURE_BITS)


def _capabilities(drop: Drop) -> None:
    mask = drop.privileges.capabilities
    linux.set_capabilities(mask, mask, mask)


def _end_with_parent(drop: Drop) -> None:
    # After the ids: the kernel clears the signal whenever they change. The check closes the gap before it was set.
    # (getppid() is 0 in a pid namespace of its own; /proc knows.)
    linux.parent_death_signal(signal.SIGKILL)
    if (os.getppid() or int(read_status()["PPid"])) != drop.parent:
        os._exit(125)


def _no_new_privileges(drop: Drop) -> None:
    linux.no_new_privileges()


def _directory(drop: Drop) -> None:
    os.chdir(drop.directory)


def _descriptors(drop: Drop) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in drop.keep:
            try:
                os.close(int(name))
            except OSError:  # the descriptor of this very listing
                pass


def _files(drop: Drop) -> None:
    if drop.privileges.sandbox is not None:
        landlock.restrict(drop.privileges.sandbox.access)


def _system_calls(drop: Drop) -> None:
    if drop.privileges.sandbox is not None and drop.privileges.sandbox.program:
        linux.filter_system_calls(drop.privileges.sandbox.program)


STEPS: tuple[tuple[str, Callable[[Drop], None]], ...] = (
    ("new session", _new_session),
    ("umask", _umask),
    ("resource limits", _resource_limits),
    ("priority", _nice),
    ("mount view", _mount_view),
    ("namespaces", _namespaces),
    ("supplementary groups", _supplementary_groups),
    ("bounding set", _bounding_set),
    ("group", _group),
    ("user", _user),
    ("ambient capabilities", _ambient_capabilities),
    ("secure bits", _secure_bits),
    ("capabilities", _capabilities),
    ("end with parent", _end_with_parent),
    ("no new privileges", _no_new_privileges),
    ("working directory", _directory),
    ("descriptors", _descriptors),
    ("files", _files),
    ("system calls", _system_calls),
)
"""Applied in this order. What needs root comes before the ids; what a change of ids would undo comes after; the sandbox
last, since it would keep the other steps from their work."""


def apply(drop: Drop) -> None:
    """Run every step in the calling process, then prove the result. Raises PrivilegeError that names the step.

    For a forked child: there is no way back, and after an error the process must exit.
    """
    for name, step in STEPS:
        try:
            step(drop)
        except OSError as error:
            raise PrivilegeError(f"privileges, step {name!r}: {error.strerror or error}{_where(error)}") from error
    problems = prove(drop.privileges.to_spec())
    if drop.privileges.switch and linux.secure_bits() != SECURE_BITS:
        problems.append(f"securebits are {linux.secure_bits():#x}, declared {SECURE_BITS:#x}")
    if problems:
        raise PrivilegeError("rights are not as declared: " + "; ".join(problems))


def _where(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""


# ---- the environment -----------------------------------------------------------------------------


def environment(privileges: Privileges, *, home: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a child: a few fixed names, `PASSED_ENVIRONMENT` of the caller's, and `extra` on top."""
    base = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "USER": privileges.user,
        "LOGNAME": privileges.user,
    }
    passed = {name: os.environ[name] for name in PASSED_ENVIRONMENT if name in os.environ}
    return base | passed | dict(extra)
