"""The input of one request as it arrives: a binary file that is read once, forwards. No records, no sockets here.

What has come and is not read yet waits in memory up to a limit, then in an unnamed temporary file. Whoever reads more
than has come waits through `source`, the connection. An error comes out of a read only when what had come before it
is not enough.
"""

from __future__ import annotations

import os
from _thread import get_ident
from typing import TYPE_CHECKING, Any

from fastcore.errors import BodyError, other_thread
from fastcore.spool import open_unnamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    class Source(Protocol):
        """Where more comes from."""

        def receive_more(self) -> None:
            """Wait for input and deliver it; where none comes, the stream fails."""

        def resume(self) -> None:
            """Go on reading: there is room again."""


class StreamBody:
    """`request.body` and `wsgi.input` in the streaming mode.

    `read(size)` waits for so many bytes or the end, `read1()` for one at least. Where the rest will not come, they
    raise a BodyError: BodyTimeout, BodyTooLong or ClientGone. `ready` says that read1() would not wait; `on_more` is
    called, once, when it may have become so, for those that must not wait. While it arrives, only the thread that has
    made it may read it: a read in another raises RuntimeError.
    """

    def __init__(self, declared: int, memory: int, directory: str | None = None, source: Source | None = None) -> None:
        """`declared`: bytes that will come, -1 if unknown; over `memory` bytes not read, a file in `directory`."""
        self.received = 0  # bytes
        self.ended = False  # all has come
        self.closed = False
        self.gone = False  # nobody waits for an answer any more
        self.paused = False  # the source reads no more until there is room
        self.on_more: Callable[[], object] | None = None
        self._declared = declared
        self._memory = memory
        self._directory = directory
        self._source = source
        self._thread = get_ident()
        self._error: BodyError | None = None
        self._buffer = bytearray()
        self._fd = -1
        self._file_start = self._file_end = 0  # what is in the file and comes after the buffer

    # The connection's side

    @property
    def held(self) -> int:
        """Bytes that have come and are not read."""
        return len(self._buffer) + self._file_end - self._file_start

    def put(self, data: bytes) -> None:
        """More has come. Raises OSError where the file has no room."""
        if self.closed:
            return
        self.received += len(data)
        if self._file_end > self._file_start or len(self._buffer) + len(data) > self._memory:
            self._spill(data)
        else:
            self._buffer += data
        self._tell()

    def end(self) -> None:
        """All has come."""
        self.ended = True
        self._leave_source()
        self._tell()

    def fail(self, error: BodyError) -> None:
        """The rest will not come."""
        if not self.ended and self._error is None:
            self._error = error
            self._leave_source()
            self._tell()

    def _leave_source(self) -> None:
        if self.paused:
            self._unpause()
        self._source = None

    def _tell(self) -> None:
        on_more, self.on_more = self.on_more, None
        if on_more is not None:
            on_more()

    def _spill(self, data: bytes) -> None:
        if self._fd < 0:
            self._fd = open_unnamed(self._directory)
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, self._file_end)
            self._file_end += written
            view = view[written:]

    # The application's side

    @property
    def ready(self) -> bool:
        """Whether read1() would not wait."""
        return self.ended or self.closed or self._error is not None or self.held > 0

    def _fill(self) -> bool:
        """Wait until there is something in the buffer; False at the end."""
        if self._source is not None and get_ident() != self._thread:
            raise other_thread()
        while not self._buffer:
            if self._file_end > self._file_start:
                self._unspill()
            elif self._error is not None:
                raise type(self._error)(*self._error.args)
            elif self.closed:
                raise ValueError("read of a closed body")
            elif self.ended:
                return False
            elif self._source is None:
                raise BodyError("the body has no connection to come from")
            else:
                self._source.receive_more()
        return True

    def _unspill(self) -> None:
        size = min(self._file_end - self._file_start, self._memory)
        self._buffer += os.pread(self._fd, size, self._file_start)
        self._file_start += size
        if self._file_start == self._file_end:
            os.ftruncate(self._fd, 0)
            self._file_start = self._file_end = 0

    def _take(self, size: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:size])
        del self._buffer[: len(data)]
        if self.paused and self.held <= self._memory // 2:
            self._unpause()
        return data

    def _unpause(self) -> None:
        self.paused = False
        if self._source is not None:
            self._source.resume()

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, fewer only at the end; all there will be where `size` is None or negative."""
        left = -1 if size is None or size < 0 else size
        data = bytearray()
        while left and self._fill():
            piece = self._take(left if left > 0 else len(self._buffer))
            data += piece
            left -= len(piece) if left > 0 else 0
        return bytes(data)

    def read1(self, size: int = -1) -> bytes:
        """What has come, up to `size` bytes; waits only where nothing has. Empty at the end."""
        if not size or not self._fill():
            return b""
        return self._take(size if size > 0 else len(self._buffer))

    def readinto(self, target: Any) -> int:
        """Fill a writable buffer as read() would; the number of bytes."""
        with memoryview(target).cast("B") as view:
            data = self.read(len(view))
            view[: len(data)] = data
        return len(data)

    def readline(self, size: int | None = -1) -> bytes:
        """The rest of the line with its newline, up to `size` bytes."""
        left = -1 if size is None or size < 0 else size
        data = bytearray()
        while left and self._fill():
            end = self._buffer.find(b"\n") + 1
            piece = self._take(min(end or len(self._buffer), left if left > 0 else len(self._buffer)))
            data += piece
            left -= len(piece) if left > 0 else 0
            if piece.endswith(b"\n"):
                break
        return bytes(data)

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """The remaining lines, or those until `hint` bytes are read."""
        lines: list[bytes] = []
        size = 0
        for line in self:
            lines.append(line)
            size += len(line)
            if hint is not None and 0 < hint <= size:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        """Free what is held; what still comes is thrown away."""
        self.closed = True
        self._buffer.clear()
        self._file_start = self._file_end = 0
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._leave_source()
        self._tell()

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
