"""Generators as answers: each item a line, while it is made. docs/rpc.md, "Streams", says what the lines are.

Always holds: the generator is ended when nobody reads any more, wherever it waits, by GeneratorExit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from typing import Any

HEARTBEAT = 0.75
"""Seconds without an item after which an empty line is sent: the default of ``Proxy(heartbeat=…)``."""
SLOTS = 16
"""Times in a heartbeat at which a worker wakes for its idle streams, however many they are."""

Line = Callable[[Any], bytes]


class PlainLines:
    """A plain generator's items, made by the worker's loop as the reader keeps up."""

    def __init__(self, source: Generator[Any, Any, Any], item: Line, end: Line, failed: Callable[[Exception], bytes]):
        self._source = source
        self._item = item
        self._end = end
        self._failed = failed
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        try:
            return self._item(next(self._source))
        except StopIteration as end:
            self._over = True
            return self._end(end.value)
        except Exception as error:
            self._over = True
            return self._failed(error)

    def close(self) -> None:
        """End the generator where it stands."""
        self._source.close()


async def async_lines(
    source: AsyncIterator[Any],
    item: Line,
    end: Line,
    failed: Callable[[Exception], bytes],
    heartbeat: float = HEARTBEAT,
) -> AsyncGenerator[bytes, None]:
    """An asynchronous generator's items, and a sign of life where none comes.

    The generator lives in one task, so that `asyncio.timeout` and task groups work across its `yield`.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(1)
    task = asyncio.create_task(_pump(source, queue, item, end, failed))
    pulse = _Pulse(queue, heartbeat)
    try:
        yield b"\n"  # the head goes out: the page knows that it is connected
        while (line := await queue.get()) is not None:
            pulse.last = pulse.loop.time()
            yield line
    finally:
        pulse.timer.cancel()
        task.cancel()
        await asyncio.wait({task})


class _Pulse:
    """Puts an empty line into a queue that was empty for `heartbeat` seconds."""

    __slots__ = ("_heartbeat", "_queue", "last", "loop", "timer")

    _share = 0.0

    def __init__(self, queue: asyncio.Queue[bytes | None], heartbeat: float) -> None:
        self._queue = queue
        self._heartbeat = heartbeat
        self.loop = asyncio.get_running_loop()
        # The first one comes early, by a share that differs (by the golden ratio: evenly spread): streams that were
        # opened at once, as by pages after a restart, would else all be due at once, for ever.
        _Pulse._share = (_Pulse._share + 0.618) % 1
        self.last = self.loop.time() - heartbeat * _Pulse._share
        self.timer = self.loop.call_at(self._due(), self._beat)

    def _due(self) -> float:
        """When the next one is due: a little early, at a time that others share, so that one waking serves many."""
        latest = self.last + self._heartbeat
        return latest - latest % (self._heartbeat / SLOTS)

    def _beat(self) -> None:
        now = self.loop.time()
        if now >= self._due() - 0.001:  # the clock's grain
            self.last = now
            if self._queue.empty():
                self._queue.put_nowait(b"\n")
        self.timer = self.loop.call_at(self._due(), self._beat)


async def _pump(
    source: AsyncIterator[Any],
    queue: asyncio.Queue[bytes | None],
    item: Line,
    end: Line,
    failed: Callable[[Exception], bytes],
) -> None:
    try:
        while True:
            try:
                line = item(await _Next(source))
            except StopAsyncIteration:
                await queue.put(end(None))
                break
            await queue.put(line)
    except GeneratorExit:
        return
    except Exception as error:
        await queue.put(failed(error))
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()  # GeneratorExit at its `yield`; nothing where it has ended
    await queue.put(None)


class _Next:
    """``anext(source)``, into which a cancellation comes as GeneratorExit: what a generator is ended by."""

    __slots__ = ("_source",)

    def __init__(self, source: AsyncIterator[Any]) -> None:
        self._source = source

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Any = self._source.__anext__().__await__()
        left = False
        try:
            waits_for = next(step)
            while True:
                try:
                    value = yield waits_for
                except asyncio.CancelledError:
                    left = True
                    waits_for = step.throw(GeneratorExit())
                else:
                    waits_for = step.send(value)
        except StopIteration as end:
            if left:
                raise GeneratorExit from None  # it has caught the first one, and goes on
            return end.value
