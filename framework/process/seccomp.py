"""Which system calls a process may make: named sets of them, turned into a filter by libseccomp.

Runs in the parent, once for each part; the child only puts the finished program in force. Three answers: the calls of
a service are let through, calls that gain or change rights are refused with EPERM (so that the reason is plain), and
every other one "does not exist" (ENOSYS), which C libraries know how to go around. Sources: seccomp(2),
seccomp_rule_add(3).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Iterable
from typing import Any, Final

__all__ = ["SETS", "SeccompError", "allowed", "build", "is_call"]

_INPUT_AND_OUTPUT = """
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek _llseek close close_range dup
    dup2 dup3 fcntl fcntl64 ioctl pipe pipe2 poll ppoll ppoll_time64 select _newselect pselect6 pselect6_time64
    epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2 signalfd signalfd4
    timerfd_create timerfd_settime timerfd_settime64 timerfd_gettime timerfd_gettime64 inotify_init inotify_init1
    inotify_add_watch inotify_rm_watch sendfile sendfile64 splice tee vmsplice copy_file_range memfd_create
    readahead fadvise64 fadvise64_64 arm_fadvise64_64 fsync fdatasync sync_file_range sync_file_range2 fallocate
    flock ftruncate ftruncate64"""
_FILES = """
    open openat openat2 creat access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 newfstatat
    fstatat64 statx statfs statfs64 fstatfs fstatfs64 getdents getdents64 readlink readlinkat getcwd chdir fchdir
    mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink unlinkat symlink symlinkat chmod fchmod
    fchmodat fchmodat2 chown chown32 fchown fchown32 lchown lchown32 fchownat utime utimes utimensat
    utimensat_time64 futimesat truncate truncate64 umask getxattr lgetxattr fgetxattr listxattr llistxattr
    flistxattr"""
_MEMORY = """
    brk mmap mmap2 munmap mprotect mremap madvise msync mincore mlock mlock2 munlock mlockall munlockall membarrier"""
_PROCESSES = """
    fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid getpgid getpgrp getsid
    setsid setpgid kill tkill tgkill pidfd_open pidfd_send_signal rt_sigaction rt_sigprocmask rt_sigpending
    rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_sigqueueinfo rt_sigreturn sigaction sigprocmask
    sigreturn sigaltstack pause restart_syscall set_tid_address set_robust_list get_robust_list futex futex_time64
    futex_waitv rseq arch_prctl prctl capget capset getuid getuid32 geteuid geteuid32 getgid getgid32 getegid
    getegid32 getresuid getresuid32 getresgid getresgid32 getgroups getgroups32 getpriority setpriority ioprio_get
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_getscheduler sched_get_priority_max
    sched_get_priority_min sched_getattr getrlimit ugetrlimit setrlimit prlimit64 getrusage times sysinfo uname
    getcpu getrandom set_thread_area get_thread_area set_tls cacheflush seccomp landlock_create_ruleset
    landlock_add_rule landlock_restrict_self"""
_TIME = """
    clock_gettime clock_gettime64 clock_getres clock_getres_time64 clock_nanosleep clock_nanosleep_time64 nanosleep
    gettimeofday time alarm setitimer getitimer timer_create timer_settime timer_settime64 timer_gettime
    timer_gettime64 timer_getoverrun timer_delete"""
_SOCKETS = """
    socketpair bind connect listen accept accept4 getsockname getpeername getsockopt setsockopt send sendto sendmsg
    sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 shutdown"""
_IPC = """
    shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open mq_unlink
    mq_timedsend mq_timedreceive mq_notify mq_getsetattr"""
_GAINING = """
    mount umount umount2 pivot_root chroot mount_setattr open_tree move_mount fsopen fsconfig fsmount fspick bpf
    userfaultfd init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff sethostname
    setdomainname settimeofday clock_settime clock_settime64 clock_adjtime clock_adjtime64 adjtimex stime iopl
    ioperm acct quotactl quotactl_fd syslog vhangup nfsservctl lookup_dcookie open_by_handle_at name_to_handle_at
    fanotify_init fanotify_mark personality modify_ldt vm86 vm86old mknod mknodat move_pages migrate_pages mbind
    set_mempolicy setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32 setresuid setresuid32
    setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32 setgroups setgroups32"""

_SERVICE: Final = tuple(" ".join((_INPUT_AND_OUTPUT, _FILES, _MEMORY, _PROCESSES, _TIME, _SOCKETS)).split())

SETS: Final[dict[str, tuple[str, ...]]] = {
    "ipc": tuple(_IPC.split()),
    "debug": ("ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "perf_event_open"),
    "keyring": ("add_key", "request_key", "keyctl"),
    "io_uring": ("io_uring_setup", "io_uring_enter", "io_uring_register"),
    "namespaces": ("unshare", "setns", "clone3"),
    "scheduling": ("sched_setparam", "sched_setscheduler", "sched_setattr", "ioprio_set", "nice"),
    "attributes": ("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr"),
}
"""What `system_calls` of the site file may add to the calls of a service, by name of the set."""

_REFUSED: Final = tuple(_GAINING.split())

_NEW_NAMESPACES: Final = 0x7E020000  # the CLONE_NEW… flags of clone(2)
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, 16)  # 16: AF_NETLINK, by which getaddrinfo() asks for addresses

_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_EQUAL, _NOT_EQUAL, _MASKED_EQUAL = 4, 1, 7  # enum scmp_compare
_OPTIMIZE: Final = 8  # SCMP_FLTATR_CTL_OPTIMIZE: 2 for a binary tree, a few comparisons for each call
_UNKNOWN: Final = -1  # __NR_SCMP_ERROR


class SeccompError(Exception):
    """No filter can be made: the library is missing, or a call has no such name."""


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("how", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def is_call(name: str) -> bool:
    """Whether libseccomp knows a system call of this name on this machine."""
    return int(_library().seccomp_syscall_resolve_name(name.encode())) != _UNKNOWN


def allowed(more: Iterable[str] = ()) -> list[str]:
    """The names of the calls that `build(more)` lets through, those of this machine. Raises SeccompError."""
    wanted = dict.fromkeys((*_SERVICE, "clone", "clone3", "socket"))
    for name in more:
        wanted.update(dict.fromkeys(SETS.get(name, (name,))))
    return sorted(name for name in wanted if is_call(name))


def build(more: Iterable[str] = (), *, network: bool = False) -> bytes:
    """The filter of a service as BPF instructions, for `linux.filter_system_calls`.

    more     sets of `SETS` and single system calls that are let through too
    network  whether sockets of the internet may be made; else unix sockets only

    Raises SeccompError.
    """
    library = _library()
    wanted = dict.fromkeys(_SERVICE)
    for name in more:
        wanted.update(dict.fromkeys(SETS.get(name, (name,))))
    address = library.seccomp_init(_ERRNO | errno.ENOSYS)
    if not address:
        raise SeccompError("libseccomp: no memory")
    context = ctypes.c_void_p(address)
    try:
        rules = _Rules(library, context)
        rules.add_all(_ALLOW, wanted)
        refused = (*_REFUSED, *(name for names in SETS.values() for name in names if name != "clone3"))
        rules.add_all(_ERRNO | errno.EPERM, [name for name in refused if name not in wanted])
        rules.add_clone(free="unshare" in wanted)
        rules.add_socket(network)
        library.seccomp_attr_set(context, _OPTIMIZE, 2)
        return _export(library, context)
    finally:
        library.seccomp_release(context)


class _Rules:
    """The rules of one filter. Names that this architecture does not have are passed over, as libseccomp does."""

    def __init__(self, library: Any, context: ctypes.c_void_p) -> None:
        self._library = library
        self._context = context

    def add_all(self, action: int, names: Iterable[str]) -> None:
        for name in names:
            self._add(action, name)

    def add_clone(self, *, free: bool) -> None:
        """Processes and threads, but no new namespaces. clone3 keeps its flags in memory, out of a filter's sight."""
        if free:
            self._add(_ALLOW, "clone")
        else:
            self._add(_ALLOW, "clone", _Comparison(0, _MASKED_EQUAL, _NEW_NAMESPACES, 0))

    def add_socket(self, network: bool) -> None:
        families = (socket.AF_UNIX, *(_FAMILIES if network else ()))
        for family in families:
            self._add(_ALLOW, "socket", _Comparison(0, _EQUAL, int(family), 0))
        if not network:
            self._add(_ERRNO | errno.EPERM, "socket", _Comparison(0, _NOT_EQUAL, int(socket.AF_UNIX), 0))

    def _add(self, action: int, name: str, *comparisons: _Comparison) -> None:
        number = int(self._library.seccomp_syscall_resolve_name(name.encode()))
        if number == _UNKNOWN:  # newer than the library, or of no architecture at all: the default answer
            return
        array = (_Comparison * len(comparisons))(*comparisons)
        result = int(self._library.seccomp_rule_add_array(self._context, action, number, len(comparisons), array))
        if result not in (0, -errno.EDOM):
            raise SeccompError(f"libseccomp: no rule for {name}: {os.strerror(-result)}")


def _export(library: Any, context: ctypes.c_void_p) -> bytes:
    number = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with open(number, "w+b") as file:
        result = int(library.seccomp_export_bpf(context, number))
        if result:
            raise SeccompError(f"libseccomp: {os.strerror(-result)}")
        file.seek(0)
        return file.read()


_loaded: Any = None


def _library() -> Any:
    """libseccomp itself, loaded when it is first needed. Raises SeccompError."""
    global _loaded
    if _loaded is None:
        try:
            library = ctypes.CDLL("libseccomp.so.2")
        except OSError:
            raise SeccompError("libseccomp.so.2 is not there: 'apt-get install libseccomp2'") from None
        library.seccomp_init.restype = ctypes.c_void_p
        library.seccomp_init.argtypes = (ctypes.c_uint32,)
        library.seccomp_release.argtypes = (ctypes.c_void_p,)
        library.seccomp_release.restype = None
        library.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
        library.seccomp_attr_set.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32)
        library.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
        library.seccomp_rule_add_array.argtypes = (
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Comparison),
        )
        _loaded = library
    return _loaded
