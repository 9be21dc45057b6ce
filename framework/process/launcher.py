"""One way to start a process of the site: fork, drop rights, exec. For a single-threaded parent.

The child is given exactly the descriptors, variables and rights that its `Launch` lists. Whatever goes wrong before
exec comes back to the parent as the text of a LaunchError. Nothing here knows what is started.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from typing import NoReturn

from fastcore.values import dataclass, field
from framework.process.linux import new_process_namespace
from framework.process.privileges import Drop, PrivilegeError, Privileges, apply
from framework.process.view import View

__all__ = ["Launch", "LaunchError", "Started", "sealed_file", "start"]

FIRST_LISTEN_FD = 3
"""Where sd_listen_fds(3) begins to count."""

SAFE_FD = 200
"""Descriptors are moved above this number first, so that none is overwritten while they are put into place."""

LAUNCH_TIMEOUT = 15.0
"""Seconds a child may take from fork to exec."""

MAX_ERROR_BYTES = 4096


class LaunchError(Exception):
    """The child could not be started; the text says which step failed and why."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to start.

    descriptors  number in the child → descriptor of the parent; 1 and 2 are pipes made by `start`, 0 is /dev/null
    unless given
    listeners    names for LISTEN_FDNAMES of the descriptors from 3 on; empty for a program that gets no listener
    contained    what it forks ends with it, where the system allows that (pid_namespaces(7)); it sees itself as pid 1
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    privileges: Privileges
    directory: str = "/"
    view: View | None = None
    descriptors: Mapping[int, int] = field(default_factory=dict)
    listeners: tuple[str, ...] = ()
    contained: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A running child: its pid and the reading ends of its standard output and error, non-blocking."""

    pid: int
    output: int
    errors: int


def sealed_file(name: str, content: bytes) -> int:
    """A descriptor on an unnamed file in memory that nobody can change any more, at position 0 (memfd_create(2))."""
    number = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(number, content)
    os.lseek(number, 0, os.SEEK_SET)
    fcntl.fcntl(
        number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
    return number


def start(launch: Launch) -> Started:
    """Start a child and return when it has become its program. Raises LaunchError; then nothing is left of it."""
    with ExitStack() as on_error, ExitStack() as ends:
        pipes = []
        for _ in range(3):
            reading, writing = os.pipe()
            on_error.callback(os.close, reading)
            ends.callback(os.close, writing)
            pipes.append((reading, writing))
        (output, output_end), (errors, errors_end), (report, report_end) = pipes
        parent = os.getpid()
        # Blocked across the fork: a signal for the child must not run the parent's handlers in it.
        old = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            with new_process_namespace() if launch.contained else nullcontext():
                pid = os.fork()
                if pid == 0:
                    _become(launch, parent, output_end, errors_end, report_end)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)
        on_error.pop_all()
    text = _read_report(report)
    if text:
        os.close(output)
        os.close(errors)
        _end(pid)
        raise LaunchError(text)
    os.set_blocking(output, False)
    os.set_blocking(errors, False)
    return Started(pid, output, errors)


def _read_report(report: int) -> str:
    """Empty when exec closed the pipe; otherwise why it never came to that."""
    poller = select.poll()
    poller.register(report, select.POLLIN)
    try:
        if not poller.poll(LAUNCH_TIMEOUT * 1000):
            return f"did not come to exec within {LAUNCH_TIMEOUT:g} s"
        return os.read(report, MAX_ERROR_BYTES).decode("utf-8", "replace")
    finally:
        os.close(report)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


# ---- in the child --------------------------------------------------------------------------------


def _become(launch: Launch, parent: int, output: int, errors: int, report: int) -> NoReturn:
    try:
        _default_signals()
        report = fcntl.fcntl(report, fcntl.F_DUPFD_CLOEXEC, SAFE_FD)
        _place_descriptors({**launch.descriptors, 1: output, 2: errors})
        keep = frozenset({0, 1, 2, report, *launch.descriptors})
        apply(Drop(launch.privileges, parent, launch.directory, launch.view, keep))
        environment = dict(launch.environment)
        if launch.listeners:
            environment["LISTEN_FDS"] = str(len(launch.listeners))
            environment["LISTEN_PID"] = str(os.getpid())
            environment["LISTEN_FDNAMES"] = ":".join(launch.listeners)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execve(launch.argv[0], launch.argv, environment)
    except PrivilegeError as error:
        os.write(report, str(error).encode()[:MAX_ERROR_BYTES])
    except BaseException as error:
        os.write(report, f"{launch.argv[0]}: {error}".encode()[:MAX_ERROR_BYTES])
    finally:
        os._exit(126)


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            try:
                signal.signal(number, signal.SIG_DFL)
            except (OSError, ValueError):  # the two that the C library keeps for itself
                pass


def _place_descriptors(wanted: dict[int, int]) -> None:
    if 0 not in wanted:
        wanted = {0: os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), **wanted}
    moved = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, SAFE_FD) for target, source in wanted.items()}
    for target, source in moved.items():
        os.dup2(source, target, inheritable=True)
        os.close(source)
