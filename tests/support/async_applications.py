"""What the tests of asynchronous servers run in a process of its own; `FILE` names where it writes down what it saw."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time

TEXT = [("Content-Type", "text/plain")]


def note(line):
    with open(os.environ["FILE"], "a") as file:
        file.write(line + "\n")


async def waits(name):
    note(f"{name} waits")
    try:
        await asyncio.sleep(3600)
    finally:
        await asyncio.sleep(0)
        note(f"{name} ended")


async def events():
    yield b"first"
    await waits("events")


async def until_exists(path):
    note("until waits")
    while not os.path.exists(path):
        await asyncio.sleep(0.02)
    return b"it exists"


async def takes_signals():
    """As an application that uses the event loop's own signal handling, which takes the wake-up descriptor."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, note, "SIGHUP")
    return b"taken"


async def name_of_loop():
    return type(asyncio.get_running_loop()).__module__.partition(".")[0].encode()


async def blocks():
    note("blocks")
    time.sleep(3600)


def native(request):
    match request.get("PATH_INFO", "/"):
        case "/wait":
            return waits("coroutine")
        case "/events":
            return 200, TEXT, events()
        case "/until":
            return until_exists(request.get("QUERY_STRING"))
        case "/signals":
            return takes_signals()
        case "/loop":
            return name_of_loop()
        case "/block":
            return blocks()
        case "/asyncio":
            return b"imported" if "uvloop" in sys.modules or "fastcore.asynchronous" in sys.modules else b"not imported"
        case "/pid":
            return b"%d" % os.getpid()
    return b"plain"
