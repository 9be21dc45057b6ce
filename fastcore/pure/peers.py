"""Who may speak: decided for each connection before a byte of it is read."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Collection


class Peers:
    """Which user ids may connect to a unix socket, None for all that its mode lets in; which hosts over TCP."""

    def __init__(
        self, allow_uids: Collection[int] | None, allow_hosts: Collection[str], complain: Callable[[str], None]
    ) -> None:
        self._uids = None if allow_uids is None else frozenset(allow_uids)
        self._hosts = frozenset(allow_hosts)
        self._complain = complain

    def allow(self, sock: socket.socket) -> bool:
        """Whether this peer may speak at all."""
        if sock.family != socket.AF_UNIX:
            try:
                host = sock.getpeername()[0]
            except OSError:  # it has gone already
                return False
            if host not in self._hosts:
                self._complain(f"refused a connection from {host}, which is not allowed")
                return False
            return True
        if self._uids is None:
            return True
        pid, uid, _ = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in self._uids:
            self._complain(f"refused a connection from user id {uid} (process {pid}), which is not allowed")
            return False
        return True
