"""The same remote function by a Proxy, and a stream on which nothing happens."""

from __future__ import annotations

from asyncio import Event
from collections.abc import AsyncIterator

from remote import usage

from framework import App
from framework.rpc import Proxy


async def idle() -> AsyncIterator[str]:
    """One item, then nothing."""
    global opened
    opened += 1
    try:
        yield "first"
        await Event().wait()
    finally:
        opened -= 1


opened = 0


def still_open() -> int:
    """How many of these streams there are."""
    return opened


application = App(
    [("/fastcore-rpc/$", Proxy([usage, idle, still_open])), ("/fastcore-rpc/slow/$", Proxy([idle], heartbeat=60))]
)
