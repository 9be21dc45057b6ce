"""One STDOUT record after the other whose content goes from a file to the socket inside the kernel (sendfile(2)).

A record is announced by its header before its content is taken. What turns out not to be there is filled with zeros,
and the answer is broken off behind them as any other that is not whole, so that all front ends show it. When which
record is begun is the exchange's business, headers are the channel's.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

PAGE = 4096  # bytes: records end where a page of the file ends
FILE_CONTENT = 15 * PAGE  # bytes of one record: one less than what the pipe inside sendfile(2) holds at once


class FileRecord:
    """The record of one answer that is being sent; `left` bytes of its content are still to come.

    `refused` says that the system does not send from this file so; the record that was announced then is read instead.
    `failed` says that its content was not to be had.
    """

    __slots__ = ("_at", "_complain", "_fd", "_file", "_rest", "failed", "left", "refused")

    def __init__(self, file: Any, fd: int, complain: Callable[[str], None]) -> None:
        self.left = 0
        self.failed = False
        # sendfile(2) knows no MSG_NOSIGNAL: where the application has restored the signal, it would end the worker
        self.refused = signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL
        self._file = file
        self._fd = fd
        self._complain = complain
        self._at = 0
        self._rest: memoryview | None = None  # of the content, where it is not taken from the file

    def begin(self, at: int, length: int) -> None:
        """Announced: `length` bytes of the file from `at`."""
        self._at = at
        self.left = length

    def waive(self) -> None:
        """The content is not to be had, or nobody wants it any more: zeros fill what is announced."""
        if self.left and self._rest is None:
            self._rest = memoryview(bytes(self.left))

    def send(self, sock: socket.socket) -> bool:
        """Send what can be sent without waiting; whether something went. Raises OSError where the client has gone."""
        before = self.left
        try:
            while self.left:
                self.left -= self._send_from_file(sock) if self._rest is None else self._send_rest(sock, self._rest)
        except BlockingIOError:
            pass
        return self.left < before

    def _send_from_file(self, sock: socket.socket) -> int:
        if self._file.closed:  # its descriptor may be another file's by now
            return self._fail("the file was closed before it was sent")
        try:
            sent = os.sendfile(sock.fileno(), self._fd, self._at, self.left)
        except BlockingIOError:
            raise
        except OSError:  # not from this file system; or the client has gone, which sending finds again
            return self._read()
        if not sent:
            return self._fail("the file has become shorter while it was sent")
        self._at += sent
        return sent

    def _read(self) -> int:
        """What is announced is read, whatever the trouble was."""
        self.refused = True
        try:
            content = os.pread(self._fd, self.left, self._at)
        except OSError as error:
            return self._fail(f"the file cannot be read: {error.strerror}")
        if len(content) < self.left:
            return self._fail("the file has become shorter while it was sent")
        self._rest = memoryview(content)
        return 0

    def _send_rest(self, sock: socket.socket, rest: memoryview) -> int:
        sent = sock.send(rest, socket.MSG_NOSIGNAL)
        self._rest = rest[sent:] or None
        return sent

    def _fail(self, what: str) -> int:
        self._complain(what)
        self.failed = True
        self.waive()
        return 0
