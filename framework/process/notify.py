"""The sd_notify(3) protocol: a service says READY=1 and STATUS=… in datagrams; here are both ends.

A back end sends with `send`. The supervisor makes one `Receiver` for each, so nobody but that back end's user can
write to it, and takes a message only from the pid that it started, as the kernel attests (SCM_CREDENTIALS,
unix(7)). The keeper of a unit passes one end of a pair of sockets instead: NOTIFY_SOCKET is "fd:4" then.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

__all__ = ["Receiver", "parse", "peer", "receive", "send"]

MAX_MESSAGE_BYTES = 4096
MAX_STATUS_CHARACTERS = 300
MESSAGES_AT_ONCE = 16
"""Messages taken in one turn of the supervisor's loop; a flood waits in the socket, bounded by the kernel."""

_KNOWN = frozenset(("READY", "STATUS", "STOPPING", "RELOADING", "WATCHDOG", "ERRNO", "MAINPID"))
_CREDENTIALS = struct.Struct("3i")


def send(message: str, address: str | None = None, patience: float = 1.0) -> bool:
    """Send "READY=1" or the like to `address` (default: NOTIFY_SOCKET); False where nobody takes it, which is no error.

    patience  seconds that a receiver may take to make room

    >>> send("STATUS=importing")
    False
    """
    if address is None:
        address = os.environ.get("NOTIFY_SOCKET", "")
    if address.startswith("fd:"):
        try:
            os.write(int(address[3:]), message.encode()[:MAX_MESSAGE_BYTES])
        except (OSError, ValueError):
            return False
        return True
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.settimeout(patience)
        try:
            channel.sendto(message.encode()[:MAX_MESSAGE_BYTES], address)
        except OSError:
            return False
    return True


def parse(data: bytes) -> dict[str, str]:
    """The known assignments of a message, values made printable and cut. Whatever else is in it is left out.

    >>> parse(b"READY=1\\nSTATUS=serving")
    {'READY': '1', 'STATUS': 'serving'}
    """
    from framework.process.printable import printable  # a back end only sends

    found = {}
    for line in data[:MAX_MESSAGE_BYTES].split(b"\n"):
        key, equals, value = line.partition(b"=")
        name = key.decode("ascii", "replace")
        if equals and name in _KNOWN:
            found[name] = printable(value.decode("utf-8", "replace"))[:MAX_STATUS_CHARACTERS]
    return found


def receive(channel: socket.socket) -> Iterator[tuple[int, dict[str, str]]]:
    """(pid of the sender, assignments) of the waiting messages, a bounded number; the socket has SO_PASSCRED set."""
    for _ in range(MESSAGES_AT_ONCE):
        try:
            data, ancillary, _flags, _address = channel.recvmsg(
                MAX_MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_DONTWAIT
            )
        except OSError:
            return
        pid = _sender(ancillary)
        if pid is not None:
            yield pid, parse(data)


def peer(connected: socket.socket) -> tuple[int, int]:
    """pid and uid of the other side of a unix socket, as they were when it connected or began to listen (unix(7))."""
    pid, uid, _ = _CREDENTIALS.unpack(connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


class Receiver:
    """A datagram socket at `path` that only `uid` (and root) may write to."""

    def __init__(self, path: str, uid: int, gid: int) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        old = os.umask(0o177)
        try:
            self._socket.bind(path)
        finally:
            os.umask(old)
        if os.geteuid() == 0:
            os.chown(path, uid, gid)

    def fileno(self) -> int:
        return self._socket.fileno()

    def messages(self) -> Iterator[tuple[int, dict[str, str]]]:
        """(pid of the sender, assignments) of the waiting messages, a bounded number of them."""
        return receive(self._socket)

    def close(self) -> None:
        self._socket.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) >= _CREDENTIALS.size:
            pid: int = _CREDENTIALS.unpack_from(data)[0]
            return pid
    return None
