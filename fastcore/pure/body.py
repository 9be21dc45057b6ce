"""The input of one request, collected: in memory first, then in an unnamed temporary file. No records here."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from fastcore.spool import open_unnamed

BLOCK_SIZE = 65536  # bytes written to a file at once, or more


class BodyStore:
    """Takes a stream in pieces and gives it back as one binary file at position 0.

    Example::

        store = BodyStore(memory=1000)
        store.put(b"piece")
        store.finish().read() == b"piece"
    """

    def __init__(self, memory: int, directory: str | None = None) -> None:
        """`memory`: bytes, over them a file in `directory` takes it all; None for the usual place."""
        self.received = 0  # bytes
        self._memory = memory
        self._directory = directory
        self._buffer = bytearray()  # the whole stream, or what is not written yet
        self._fd = -1

    def put(self, data: bytes) -> None:
        """Append a piece. Raises OSError where the file has no room."""
        if self._fd < 0 and self.received + len(data) > self._memory:
            self._fd = open_unnamed(self._directory)
        self._buffer += data
        self.received += len(data)
        if self._fd >= 0 and len(self._buffer) >= BLOCK_SIZE:
            self._write()

    def _write(self) -> None:
        with memoryview(self._buffer) as view:
            written = 0
            while written < len(view):
                written += os.write(self._fd, view[written:])
        self._buffer.clear()

    def finish(self) -> BinaryIO:
        """The whole stream as a file at position 0; the caller closes it. Raises OSError where it has no room."""
        if self._fd < 0:
            return io.BytesIO(self._buffer)
        self._write()
        os.lseek(self._fd, 0, os.SEEK_SET)
        file = open(self._fd, "r+b")  # noqa: SIM115 (closed by the caller)
        self._fd = -1
        return file

    def close(self) -> None:
        """Free what finish() has not given away."""
        self._buffer.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()
