"""Where the log of a site goes: a descriptor, a file, or the journal. Nothing here waits for a reader or for room.

A sink formats one line and takes the bytes it made: `take` returns how many, 0 where none fits now. What can never be
taken (a full disk) is a `Lost`, which `framework.process.logs.Output` counts and tells. Sources: systemd.exec(5)
($JOURNAL_STREAM), sd-daemon(3) (the prefix <N>), "Native Journal Protocol" of systemd, open(2).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import struct
import time
from datetime import datetime
from pathlib import Path
from typing import Protocol

from framework.folders import open_folder

__all__ = ["LEVELS", "Journal", "LogError", "LogFile", "Lost", "Sink", "Stream", "open_sink"]

LEVELS = ("emergency", "alert", "critical", "error", "warning", "notice", "info", "debug")
"""By syslog's numbers, 0 to 7 (syslog(3))."""

_AWAY = {errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENOENT, errno.ENOTCONN}
"""The journal is being started again."""

JOURNAL_SOCKET = "/run/systemd/journal/socket"
FILE_MODE = 0o640


class LogError(Exception):
    """The log cannot be written where the site file says; the text has the path, the reason and the fix."""


class Lost(Exception):
    """This line is lost, and so may be the next ones; the text says why."""


class Sink(Protocol):
    """What `Output` writes to. `name` says it to people."""

    name: str

    def format(self, name: str, pid: int | None, level: str, text: str) -> bytes:
        """One line: who says what how urgently."""

    def take(self, data: bytes) -> int:
        """Take some of these bytes, without waiting. Raises Lost and OSError."""

    def wait(self, seconds: float) -> bool:
        """Whether it takes something, at the latest after so long."""

    def reopen(self) -> None:
        """Open it again under its name. Raises LogError; then all is as it was."""


def _line(name: str, pid: int | None, level: str, text: str) -> bytes:
    stamp = datetime.fromtimestamp(time.time()).isoformat(" ", "milliseconds")
    who = f"{name}[{pid}]" if pid else name
    return f"{stamp} {level:<7} {who} {text}\n".encode("utf-8", "backslashreplace")


class Stream:
    """An open descriptor: a terminal, a pipe, a file, or the journal where systemd has connected it."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._journal = _is_journal(descriptor)
        self.name = "standard output" + (", which is the journal" if self._journal else "")
        self._poller = select.poll()
        self._poller.register(descriptor, select.POLLOUT)

    def format(self, name: str, pid: int | None, level: str, text: str) -> bytes:
        if not self._journal:
            return _line(name, pid, level, text) if name else f"{text}\n".encode("utf-8", "backslashreplace")
        who = f"{name}[{pid}] " if pid else f"{name} " if name else ""
        return f"<{LEVELS.index(level)}>{who}{text}\n".encode("utf-8", "backslashreplace")

    def take(self, data: bytes) -> int:
        # It takes a page whenever poll(2) says that it is ready.
        return os.write(self._descriptor, data[: select.PIPE_BUF]) if self.wait(0) else 0

    def wait(self, seconds: float) -> bool:
        return bool(self._poller.poll(seconds * 1000))

    def reopen(self) -> None:
        pass


def _is_journal(descriptor: int) -> bool:
    """Whether systemd has connected this descriptor to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
        found = os.fstat(descriptor)
        return (found.st_dev, found.st_ino) == (int(device), int(inode))
    except (OSError, ValueError):
        return False


class LogFile:
    """A file of the site's own, 0640, opened again by `reopen` after logrotate has moved it. Raises LogError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._descriptor = _open_own(path)
        self._torn = False

    def format(self, name: str, pid: int | None, level: str, text: str) -> bytes:
        return _line(name, pid, level, text) if name else f"{text}\n".encode("utf-8", "backslashreplace")

    def take(self, data: bytes) -> int:
        try:
            if self._torn:  # a line that a full disk has cut ends here
                os.write(self._descriptor, b"\n")
                self._torn = False
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Lost(f"{self.name}: {error.strerror}") from None
        if written < len(data):
            self._torn = True
            raise Lost(f"{self.name}: {os.strerror(errno.ENOSPC)}")
        return written

    def wait(self, seconds: float) -> bool:
        return True

    def reopen(self) -> None:
        fresh = _open_own(self.path)
        old, self._descriptor, self._torn = self._descriptor, fresh, False
        os.close(old)


def _open_own(path: Path) -> int:
    """Open a log for appending, or make it, so that nobody else can have led us to another file. Raises LogError.

    Each folder on the way is opened by itself; a link counts only where root or the caller made it, and the file itself
    is no link, of one name, and ours.
    """
    trusted = {0, os.geteuid()}
    try:
        folder = open_folder(path.parent, trusted)
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            number = os.open(path.name, flags, 0o600, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError as error:
        reason = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise LogError(f"the log {path} cannot be opened: {reason}") from None
    found = os.fstat(number)
    why = ""
    if not stat.S_ISREG(found.st_mode):
        why = "is not a file"
    elif found.st_uid not in trusted:
        why = f"belongs to uid {found.st_uid}"
    elif found.st_nlink > 1:
        why = "has a second name (a hard link)"
    if why:
        os.close(number)
        raise LogError(f"the log {path} {why}: remove it, or choose another place")
    os.fchmod(number, FILE_MODE)
    return number


class Journal:
    """systemd-journald by its own protocol: a datagram of fields for each line. Raises LogError where there is none."""

    def __init__(self, site: str, path: str = JOURNAL_SOCKET) -> None:
        self.name = "the journal"
        self._site = site
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self.reopen()
        self._poller = select.poll()
        self._poller.register(self._socket, select.POLLOUT)

    def format(self, name: str, pid: int | None, level: str, text: str) -> bytes:
        fields = {
            "MESSAGE": text,
            "PRIORITY": str(LEVELS.index(level)),
            "SYSLOG_IDENTIFIER": self._site,
            "SITE_PART": name or "supervisor",
            "SYSLOG_PID": str(pid or ""),
        }
        return b"".join(_field(key, value) for key, value in fields.items() if value)

    def take(self, data: bytes) -> int:
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in _AWAY:
                raise Lost(f"the journal: {error.strerror}") from None
        try:
            self.reopen()
            return self._socket.send(data)
        except (LogError, OSError):
            return 0

    def wait(self, seconds: float) -> bool:
        return bool(self._poller.poll(seconds * 1000))

    def reopen(self) -> None:
        try:
            self._socket.connect(self._path)
        except OSError as error:
            hint = 'log = "output" writes to standard output'
            raise LogError(f"the journal does not listen on {self._path}: {error.strerror}; {hint}") from None


def _field(key: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" in data:
        return key.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return key.encode() + b"=" + data + b"\n"


def open_sink(log: str, site: str) -> Sink:
    """The sink that `[site] log` names: "output", "journal" or an absolute path. Raises LogError.

    >>> open_sink("/var/log/appliance.log", "appliance").name
    '/var/log/appliance.log'
    """
    if log == "journal":
        return Journal(site)
    return Stream() if log == "output" else LogFile(Path(log))
