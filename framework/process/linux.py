"""The Linux calls that `os` has no name for: prctl, capset, unshare, setns, mount, landlock.

Each function does one thing and raises OSError with the call's name. Nothing is decided here; `privileges`, `view`
and `landlock` decide. Sources: prctl(2), capabilities(7), mount(2), mount_namespaces(7),
pid_namespaces(7), landlock(7), seccomp(2).
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_GET_SECUREBITS = 27
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4

SECBIT_NOROOT = 1 << 0
SECBIT_NOROOT_LOCKED = 1 << 1
SECBIT_NO_SETUID_FIXUP_LOCKED = 1 << 3
SECBIT_KEEP_CAPS_LOCKED = 1 << 5
SECBIT_NO_CAP_AMBIENT_RAISE = 1 << 6
SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7

SECCOMP_MODE_FILTER = 2

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# The same number on every architecture (as of all system calls since Linux 5.3).
SYS_LANDLOCK_CREATE_RULESET, SYS_LANDLOCK_ADD_RULE, SYS_LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE, MS_SLAVE = 32, 4096, 16384, 1 << 18, 1 << 19

_CAPABILITY_VERSION_3 = 0x20080522

CAPABILITIES: dict[str, int] = {
    name: number
    for number, name in enumerate(
        [
            "chown",
            "dac_override",
            "dac_read_search",
            "fowner",
            "fsetid",
            "kill",
            "setgid",
            "setuid",
            "setpcap",
            "linux_immutable",
            "net_bind_service",
            "net_broadcast",
            "net_admin",
            "net_raw",
            "ipc_lock",
            "ipc_owner",
            "sys_module",
            "sys_rawio",
            "sys_chroot",
            "sys_ptrace",
            "sys_pacct",
            "sys_admin",
            "sys_boot",
            "sys_nice",
            "sys_resource",
            "sys_time",
            "sys_tty_config",
            "mknod",
            "lease",
            "audit_write",
            "audit_control",
            "setfcap",
            "mac_override",
            "mac_admin",
            "syslog",
            "wake_alarm",
            "block_suspend",
            "audit_read",
            "perfmon",
            "bpf",
            "checkpoint_restore",
        ]
    )
}
"""Capability numbers by name without `cap_`, in the order of <linux/capability.h>."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)


def _check(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _prctl(call: str, option: int, second: int = 0, third: int = 0) -> int:
    return _check(int(_libc.prctl(option, second, third, 0, 0)), call)


def parent_death_signal(signal_number: int) -> None:
    """Have the kernel send this signal to the caller when its parent dies; a later change of ids clears it."""
    _prctl("prctl(PR_SET_PDEATHSIG)", PR_SET_PDEATHSIG, signal_number)


def release_memory() -> None:
    """Give memory that is free in the process back to the system (malloc_trim(3)); without glibc nothing is done."""
    trim = getattr(_libc, "malloc_trim", None)
    if trim is not None:
        trim(0)


def become_subreaper() -> None:
    """Make orphaned descendants children of the caller, so that it can end and reap them."""
    _prctl("prctl(PR_SET_CHILD_SUBREAPER)", PR_SET_CHILD_SUBREAPER, 1)


def no_new_privileges() -> None:
    """Nothing the caller executes from now on can gain rights (set-user-ID, file capabilities)."""
    _prctl("prctl(PR_SET_NO_NEW_PRIVS)", PR_SET_NO_NEW_PRIVS, 1)


def filter_system_calls(program: bytes) -> None:
    """Put a seccomp filter, as BPF instructions of 8 bytes, in force for the caller and all it starts (seccomp(2))."""
    instructions = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    argument = Program(len(program) // 8, ctypes.addressof(instructions))
    _prctl("prctl(PR_SET_SECCOMP)", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(argument))


def landlock_version() -> int:
    """The version of Landlock's interface in this kernel; 0 where it has none or it is switched off (landlock(7))."""
    version = int(_libc.syscall(SYS_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), LANDLOCK_CREATE_RULESET_VERSION))
    return max(version, 0)


def landlock_ruleset(handled: tuple[int, ...]) -> int:
    """A descriptor of a new set of rules; `handled` are masks: file system, network, scopes, as far as known."""
    attributes = struct.pack(f"={len(handled)}Q", *handled)
    number = int(
        _libc.syscall(SYS_LANDLOCK_CREATE_RULESET, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), 0)
    )
    return _check(number, "landlock_create_ruleset")


def landlock_allow(ruleset: int, path: int, rights: int) -> None:
    """Allow `rights` beneath what the descriptor `path` names."""
    attributes = struct.pack("=Qi", rights, path)
    rule = (ruleset, LANDLOCK_RULE_PATH_BENEATH, ctypes.c_char_p(attributes), 0)
    _check(int(_libc.syscall(SYS_LANDLOCK_ADD_RULE, *rule)), "landlock_add_rule")


def landlock_restrict(ruleset: int) -> None:
    """Put a set of rules in force for the caller and all it starts; needs no_new_privileges()."""
    _check(int(_libc.syscall(SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0)), "landlock_restrict_self")


def keep_capabilities(keep: bool) -> None:
    """Whether permitted capabilities outlive the change from uid 0 to another; execve resets it."""
    _prctl("prctl(PR_SET_KEEPCAPS)", PR_SET_KEEPCAPS, int(keep))


def drop_bounding(kept: int) -> None:
    """Drop every capability from the bounding set whose bit is not in the mask `kept`."""
    for number in range(64):
        present = int(_libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0))
        if present < 0:  # EINVAL: the kernel knows no capability from here on
            return
        if present and not kept >> number & 1:
            _prctl("prctl(PR_CAPBSET_DROP)", PR_CAPBSET_DROP, number)


def set_capabilities(effective: int, permitted: int, inheritable: int) -> None:
    """Set the caller's three capability sets, each a mask of 64 bits."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (effective, permitted, inheritable)
    low, high = [mask & 0xFFFFFFFF for mask in sets], [mask >> 32 for mask in sets]
    data = (ctypes.c_uint32 * 6)(*low, *high)
    _check(int(_libc.capset(header, data)), "capset")


def raise_ambient(mask: int) -> None:
    """Make the ambient set exactly `mask`; each must already be permitted and inheritable."""
    _prctl("prctl(PR_CAP_AMBIENT_CLEAR_ALL)", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(64):
        if mask >> number & 1:
            _prctl("prctl(PR_CAP_AMBIENT_RAISE)", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)


def set_secure_bits(bits: int) -> None:
    """Set the caller's securebits, which all it starts inherit (capabilities(7)); needs CAP_SETPCAP."""
    _prctl("prctl(PR_SET_SECUREBITS)", PR_SET_SECUREBITS, bits)


def secure_bits() -> int:
    """The caller's securebits; /proc does not show them."""
    return _prctl("prctl(PR_GET_SECUREBITS)", PR_GET_SECUREBITS)


def unshare_mounts() -> None:
    """Give the caller a mount namespace of its own (needs CAP_SYS_ADMIN)."""
    _check(int(_libc.unshare(CLONE_NEWNS)), "unshare(CLONE_NEWNS)")


def unshare_network() -> None:
    """Give the caller a network namespace of its own, with no interface that is up (needs CAP_SYS_ADMIN)."""
    _check(int(_libc.unshare(CLONE_NEWNET)), "unshare(CLONE_NEWNET)")


@contextmanager
def new_process_namespace() -> Iterator[bool]:
    """What the caller forks within is the first process of a namespace: when it ends, the kernel kills all below it.

    Needs CAP_SYS_ADMIN; gives False, and changes nothing, where the system does not allow it.
    """
    try:
        own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a kernel without
        yield False
        return
    try:
        try:
            _enter(own)  # whoever may do this may do it again at the end
            _check(int(_libc.unshare(CLONE_NEWPID)), "unshare(CLONE_NEWPID)")
        except OSError:
            yield False
            return
        try:
            yield True
        finally:
            _enter(own)
    finally:
        os.close(own)


def _enter(namespace: int) -> None:
    _check(int(_libc.setns(namespace, CLONE_NEWPID)), "setns(CLONE_NEWPID)")


def can_unshare_mounts() -> bool:
    """Whether this process may make mount namespaces: tried, since a container may refuse what capabilities allow."""
    child = os.fork()
    if child == 0:  # pragma: no cover - another process, out of sight of the parent's coverage
        try:
            unshare_mounts()
            mount("", "/", flags=MS_REC | MS_SLAVE)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def mount(source: str, target: str, filesystem: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2), with the target's path in the error."""
    arguments = (os.fsencode(text) or None for text in (source, target, filesystem))
    result = int(_libc.mount(*arguments, flags, data.encode() or None))
    _check(result, f"mount on {target}")


def capability_mask(names: tuple[str, ...] | frozenset[str]) -> int:
    """The mask of capabilities given by name, with or without "CAP_"; ValueError for an unknown one.

    >>> hex(capability_mask(("net_bind_service",)))
    '0x400'
    """
    mask = 0
    for name in names:
        number = CAPABILITIES.get(name.lower().removeprefix("cap_"))
        if number is None:
            raise ValueError(f"unknown capability {name!r}; capabilities(7) lists them")
        mask |= 1 << number
    return mask
