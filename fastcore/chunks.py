"""A request's body as an asynchronous iterator: chunks as they come. Imported when a coroutine first asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

CHUNK_SIZE = 65536  # bytes of one chunk, at most


async def iterate(file: Any) -> AsyncIterator[bytes]:
    """The chunks of a body, for `async for`: while it waits others have their turn.

    `file` is a StreamBody, or any binary file that has come whole.
    """
    if not hasattr(file, "on_more"):
        while chunk := file.read(CHUNK_SIZE):
            yield chunk
        return
    while True:
        while not file.ready:
            future = asyncio.get_running_loop().create_future()
            file.on_more = _Waker(future)
            await future
        chunk = file.read1(CHUNK_SIZE)
        if not chunk:
            return
        yield chunk


class _Waker:
    """Ends the wait of one coroutine, which may have been cancelled meanwhile."""

    def __init__(self, future: asyncio.Future[None]) -> None:
        self._future = future

    def __call__(self) -> None:
        if not self._future.done():
            self._future.set_result(None)
