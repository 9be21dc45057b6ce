"""Bodies of answers that are files: an exchange reads these itself, past Python. No requests and no sockets here."""

from __future__ import annotations

import io
import os
import stat

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any, BinaryIO

BLOCK_SIZE = 65536  # bytes read from a file at once


class FileBody:
    """The body of an answer that is a part of an open file.

    An exchange reads `length` bytes of `file` from `offset` itself; who does not know of this iterates. `close` must be
    called once the answer is sent or given up.

    Example::

        def application(request):
            file = open("/srv/manual.pdf", "rb")
            size = os.fstat(file.fileno()).st_size
            return 200, [("Content-Length", str(size))], FileBody(file, 0, size)
    """

    __slots__ = ("file", "length", "offset")

    def __init__(self, file: BinaryIO, offset: int, length: int) -> None:
        """`file` is a binary file with a descriptor; `offset` and `length` are bytes."""
        self.file = file
        self.offset = offset
        self.length = length

    def __iter__(self) -> Iterator[bytes]:
        self.file.seek(self.offset)
        left = self.length
        while left > 0:
            chunk = self.file.read(min(left, BLOCK_SIZE))
            if not chunk:
                return
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class FileWrapper:
    """`wsgi.file_wrapper` (PEP 3333): a file-like object as an iterator of blocks; closes it."""

    def __init__(self, filelike: Any, block_size: int = BLOCK_SIZE) -> None:
        self.filelike = filelike
        self.block_size = block_size

    def __iter__(self) -> Iterator[bytes]:
        while block := self.filelike.read(self.block_size):
            yield block

    def close(self) -> None:
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    """All of a temporary file, from its beginning, in blocks; closes it then."""
    file.seek(0)
    while block := file.read(BLOCK_SIZE):
        yield block
    file.close()


def region_of(body: Any) -> tuple[Any, int, int, int] | None:
    """The raw file, its descriptor, where to begin and where to end (bytes; -1: at its end), or None: iterate.

    Only for what is exactly a regular file opened by Python: other objects may have a fileno() and give something else
    (gzip.GzipFile), and what is no regular file may have no positions. The raw file, because `closed` of a buffered one
    raises ValueError once it is detached.
    """
    file: Any
    if type(body) is FileBody:
        file, start, end = body.file, body.offset, body.offset + body.length
        if not 0 <= start <= end < 1 << 63:  # no part of any file: iterating says what comes of it
            return None
    elif type(body) is FileWrapper:
        file, start, end = body.filelike, -1, -1
    else:
        return None
    raw = file.raw if type(file) in (io.BufferedReader, io.BufferedRandom) else file
    if type(raw) is not io.FileIO or not raw.readable():
        return None
    try:
        if type(file) is io.BufferedRandom:
            file.flush()  # what was written to it is to be read
        if start < 0:
            start = file.tell()
        descriptor = raw.fileno()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
    except (OSError, ValueError):
        return None
    return raw, descriptor, start, end
