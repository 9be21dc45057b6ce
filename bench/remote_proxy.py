"""The same remote function by a Proxy, and a stream on which nothing happens."""

from __future__ import annotations

from asyncio import Event
from collections.abc import AsyncIterator

from remote import usage

from framework import App
from framework.rpc import Proxy


async def idle() -> AsyncIterator[str]:
    """One item, then nothing."""
    yield "first"
    await Event().wait()


application = App([("/fastcore-rpc/$", Proxy([usage, idle])), ("/fastcore-rpc/slow/$", Proxy([idle], heartbeat=60))])
