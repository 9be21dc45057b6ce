"""The site file, read by a short-lived child: what only reading it takes (TOML, checks, patterns, hashes) stays out of
the supervisor's memory, at the start and at each reload. The child is a fork of the caller and is believed like it.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from typing import TypeVar

__all__ = ["LoadError", "in_child"]

T = TypeVar("T")


class LoadError(Exception):
    """The child ended without a word, or with one that nobody here understands."""


def in_child(load: Callable[[], T]) -> T:
    """What `load` returns or raises in a fork of this process. For a single-threaded caller.

    Raises LoadError where the child says nothing, and OSError where there can be none.

    >>> in_child(lambda: 6 * 7)
    42
    """
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if not pid:
                _answer(load, writer, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(writer)
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.waitstatus_to_exitcode(status) or not data:
        raise LoadError(f"the site file could not be read: {os.waitstatus_to_exitcode(status)}")
    try:
        raised, value = pickle.loads(data)  # noqa: S301 (of our own fork; nobody else has the other end of the pipe)
    except Exception as error:
        raise LoadError(f"the site file could not be read: {type(error).__name__}: {error}") from None
    if raised:
        raise value
    return value  # type: ignore[no-any-return]


def _answer(load: Callable[[], T], writer: int, mask: set[int | signal.Signals]) -> None:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        try:
            answer = pickle.dumps((False, load()))
        except Exception as error:
            answer = _packed_error(error)
        with open(writer, "wb") as pipe:
            pipe.write(answer)
        status = 0
    finally:
        os._exit(status)


def _packed_error(error: Exception) -> bytes:
    try:
        return pickle.dumps((True, error))
    except Exception:
        return pickle.dumps((True, LoadError(f"{type(error).__name__}: {error}")))
