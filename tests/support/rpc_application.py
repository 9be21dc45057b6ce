"""Remote functions for tests behind real web servers; a generator that is ended says so in a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from framework import App, Request, Response
from framework.rpc import Progress, Proxy, remote


def echo(value: Any) -> Any:
    return value


async def silent(mark: str) -> AsyncIterator[str]:
    """One item, then nothing; `mark` is a file that is made when it is left."""
    try:
        yield "first"
        await asyncio.Event().wait()
    except GeneratorExit:
        Path(mark).touch()
        raise


async def ticks(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
        await asyncio.sleep(0.01)


now_open: set[int] = set()


async def idle(number: int) -> AsyncIterator[int]:
    """One item, then nothing; `still_open` tells how many of these there are."""
    now_open.add(number)
    try:
        yield number
        await asyncio.Event().wait()
    finally:
        now_open.discard(number)


def still_open() -> int:
    return len(now_open)


def copy(disks: int) -> Iterator[Progress]:
    for number in range(disks):
        yield Progress(number + 1, disks, f"disk {number}")
    return f"{disks} disks"  # type: ignore[return-value]


async def wait() -> None:
    """Until nobody waits for it any more."""
    await asyncio.Event().wait()


@remote(safe=True)
def labels() -> list[str]:
    return ["data"]


class Processes:
    def kill(self, pid: int) -> str:
        return f"killed {pid}"


def module(request: Request) -> str:
    """The address of the module with its version in it."""
    return own.module_url(request)


def page(request: Request) -> Response:
    response = Response.text("<!DOCTYPE html><title>Calls</title><link rel='icon' href='data:,'/><progress></progress>")
    response.set_header("Content-Type", "text/html; charset=utf-8")
    return response


own = Proxy({"wait": wait, "labels": labels, "processes": Processes()})
app = App(
    [
        ("/$", page),
        ("/rpc$", Proxy([echo, silent, ticks, copy, idle, still_open])),
        ("/own$", own),
        ("/module$", module),
    ]
)
