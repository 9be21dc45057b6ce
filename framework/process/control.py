"""The supervisor's control socket: one JSON object a line in, one out. For root (or the user who runs the site).

The socket has mode 0600, and the kernel is asked who connected (SO_PEERCRED) before a byte is read. Where the site file
names a control_group it has 0660 and that group; its members may ask for the status and order nothing. Both ends are
here: `Server` for the supervisor's loop, `ask` and `stop` for sitectl.
"""

from __future__ import annotations

import array
import grp
import json
import os
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

__all__ = ["ControlError", "Server", "ask", "reload", "stop"]

MAX_REQUEST_BYTES = 4096
MAX_ANSWER_BYTES = 16 << 20
MAX_CONNECTIONS = 8
MAX_GUESTS = 4
"""Connections of members of the control_group: they never keep root's own out."""

MAX_GROUPS = 256
"""Whoever has more supplementary groups is not let in by one of them."""

SO_PEERGROUPS = 59
SO_SNDBUFFORCE = 32
PATIENCE = 5.0
"""Seconds that a connection may take for its one line."""

Answer = Callable[[dict[str, Any]], dict[str, Any]]
Watch = Callable[[int, Callable[[], object]], None]
Unwatch = Callable[[int], None]

_PEER = struct.Struct("3i")


class ControlError(Exception):
    """The supervisor cannot be asked; says why and what to do."""


class Connection:
    """One accepted connection, non-blocking.

    `held` is a stop, which is answered by closing when all has ended, or a reload, which has its answer by `settle`.
    A `guest` is let in by their group, and may ask for the status alone.
    """

    def __init__(self, channel: socket.socket, now: float, guest: bool = False) -> None:
        self.channel = channel
        self.guest = guest
        self.deadline = now + PATIENCE
        self.held = False
        self.waits_for_reload = False
        self._received = b""

    def read(self) -> bytes | None:
        """The request line when it is complete; b"" where the peer is gone or says too much; None to come again."""
        try:
            data = self.channel.recv(MAX_REQUEST_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if end:
            return line
        return b"" if not data or len(self._received) >= MAX_REQUEST_BYTES else None

    def answer(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode() + b"\n"
        try:  # all of it fits into the kernel's buffer, so nobody who does not read keeps the supervisor waiting
            self.channel.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 2 * len(data) + 65536)
        except OSError:  # without root
            pass
        try:
            self.channel.settimeout(1.0)
            self.channel.sendall(data)
        except OSError:
            pass


class Server:
    """The listening end, in the supervisor's loop: `watch` and `unwatch` register descriptors there.

    group  whose members may ask for the status; "" for nobody. Raises ControlError where there is no such group.
    """

    def __init__(self, path: Path, answer: Answer, watch: Watch, unwatch: Unwatch, group: str = "") -> None:
        self._group = _gid_of(group) if group else None
        self._path = path
        self._answer = answer
        self._watch = watch
        self._unwatch = unwatch
        self._connections: dict[int, Connection] = {}
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(mask)
        if self._group is not None:
            self._open_to(self._group)
        self._listener.listen(MAX_CONNECTIONS)
        watch(self._listener.fileno(), self._accept)

    def _open_to(self, group: int) -> None:
        try:
            os.chown(self._path, -1, group)
            os.chmod(self._path, 0o660)
        except OSError as error:
            self._listener.close()
            raise ControlError(f"{self._path} cannot be given to the control_group: {error.strerror}") from None

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return
        _, uid, gid = _PEER.unpack(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        guest = uid not in (0, os.geteuid())
        guests = sum(connection.guest for connection in self._connections.values())
        refused = guest and (self._group not in (gid, *_groups_of(channel)) or guests >= MAX_GUESTS)
        if refused or len(self._connections) - guests >= MAX_CONNECTIONS:
            channel.close()
            return
        channel.setblocking(False)
        number = channel.fileno()
        self._connections[number] = Connection(channel, time.monotonic(), guest)
        self._watch(number, lambda: self._serve(number))

    def _serve(self, number: int) -> None:
        connection = self._connections[number]
        line = connection.read()
        if line is None:
            return
        if connection.held:  # it waits for the end; now it has left
            self._drop(number)
            return
        answer: dict[str, Any] = {}
        if line:
            request = _parse(line)
            if request is None:
                answer = {"ok": False, "error": "not a JSON object"}
            elif connection.guest and request.get("command") != "status":
                answer = {"ok": False, "error": "only root may order this: the control_group may ask for the status"}
            else:
                answer = self._answer(request)
            connection.answer(answer)
        if answer.get("stopping") or answer.get("reloading"):
            connection.held = True
            connection.waits_for_reload = bool(answer.get("reloading"))
        else:
            self._drop(number)

    def settle(self, answer: dict[str, Any]) -> None:
        """Answer those that wait for the end of a reload."""
        for number, connection in list(self._connections.items()):
            if connection.waits_for_reload:
                connection.answer(answer)
                self._drop(number)

    def _drop(self, number: int) -> None:
        self._unwatch(number)
        self._connections.pop(number).channel.close()

    def next_deadline(self) -> float | None:
        """When the first of the connections has had its time, on the steady clock."""
        return min((each.deadline for each in self._connections.values() if not each.held), default=None)

    def drop_slow(self, now: float) -> None:
        """Close the connections that have had their time."""
        for number, connection in list(self._connections.items()):
            if now >= connection.deadline and not connection.held:
                self._drop(number)

    def close(self) -> None:
        """Close all, the held ones too: for those who wait, this is the sign that all has ended."""
        for number in list(self._connections):
            self._drop(number)
        self._unwatch(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)


def _gid_of(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise ControlError(f"the control_group {name!r} does not exist: 'groupadd --system {name}' makes it") from None


def _groups_of(channel: socket.socket) -> Sequence[int]:
    """The supplementary groups of who connected, as the kernel had them then (unix(7), SO_PEERGROUPS)."""
    try:
        return array.array("I", channel.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * MAX_GROUPS))
    except OSError:
        return ()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


# ---- sitectl's end -------------------------------------------------------------------------------


def _connect(path: Path) -> socket.socket:
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    channel.settimeout(PATIENCE)
    try:
        channel.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError):
        channel.close()
        raise ControlError(f"the site does not run (nobody listens on {path}): 'sitectl run' starts it") from None
    except PermissionError:
        channel.close()
        raise ControlError(f"only root, the user who runs the site and its control_group may ask ({path})") from None
    except OSError as error:
        channel.close()
        raise ControlError(f"{path}: {error.strerror or error}") from None
    return channel


def _exchange(channel: socket.socket, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """The answer, and what came behind it: a reload that ends at once sends its second line with the first."""
    try:
        channel.sendall(json.dumps(request).encode() + b"\n")
        line, rest = _receive_line(channel)
    except OSError as error:
        raise ControlError(f"the supervisor did not answer: {error.strerror or error}") from None
    return _checked(line, "the supervisor did not answer: it takes orders only from root and its own user"), rest


def _receive_line(channel: socket.socket, data: bytes = b"") -> tuple[bytes, bytes]:
    """The next line and what came behind it; `data` came before. Raises OSError."""
    while b"\n" not in data and len(data) <= MAX_ANSWER_BYTES and (piece := channel.recv(65536)):
        data += piece
    line, _, rest = data.partition(b"\n")
    return line, rest


def _checked(line: bytes, otherwise: str) -> dict[str, Any]:
    """An answer that says yes. Raises ControlError with what it says instead, or `otherwise` where it says nothing."""
    answer = _parse(line)
    if answer is None:
        raise ControlError(otherwise)
    if not answer.get("ok"):
        raise ControlError(str(answer.get("error", "refused")))
    return answer


def ask(path: Path, command: str) -> dict[str, Any]:
    """Send one command and return its answer. Raises ControlError.

    >>> ask(site.control_path, "status")["parts"][0]["state"]
    'ready'
    """
    with _connect(path) as channel:
        return _exchange(channel, {"command": command})[0]


def reload(path: Path, backends: list[str], seconds: float) -> dict[str, Any]:
    """Order a reload of these back ends, or of all, and wait for its end. Raises ControlError with what kept it."""
    with _connect(path) as channel:
        _, rest = _exchange(channel, {"command": "reload", "backends": backends})
        channel.settimeout(seconds)
        try:
            line, _ = _receive_line(channel, rest)
        except OSError as error:
            raise ControlError(f"no end of the reload within {seconds:g} s: {error}") from None
    return _checked(line, "the supervisor ended before the reload did")


def stop(path: Path, seconds: float) -> bool:
    """Order the end and wait for it; False where it took longer than `seconds`. Raises ControlError."""
    with _connect(path) as channel:
        _exchange(channel, {"command": "stop"})
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            channel.settimeout(left)
            try:
                if not channel.recv(1):
                    return True
            except TimeoutError:
                return False
            except OSError:
                return True
    return False
