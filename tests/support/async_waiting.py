"""What the tests of awaited answers have in common: coroutines, what they wait for, and waiting for them."""

from __future__ import annotations

import asyncio
import time

TEXT = [("Content-Type", "text/plain")]


def until(condition, what="it"):
    """Look again and again until it is so."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, f"waited 20 s for {what}"
        time.sleep(0.005)


class Gate:
    """What coroutines of the worker wait for, and the test opens; `entered` and `left` say who came and went."""

    def __init__(self):
        self.event, self.entered, self.left, self.cancelled = asyncio.Event(), 0, 0, 0
        self.loop = None

    async def wait(self):
        self.loop = asyncio.get_running_loop()
        self.entered += 1
        try:
            await self.event.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.left += 1

    def open(self):
        self.loop.call_soon_threadsafe(self.event.set)

    async def stream(self, first=b"first"):
        yield first
        await self.wait()
        yield b"last"

    async def __call__(self, request):
        await self.wait()
        return b"waited"


def read_until(sock, piece):
    data = b""
    while piece not in data:
        part = sock.recv(65536)
        assert part, f"closed before {piece!r}: {data!r}"
        data += part
    return data


async def returning(result):
    await asyncio.sleep(0)
    return result


async def pieces_of(*pieces):
    for piece in pieces:
        await asyncio.sleep(0)
        yield piece
