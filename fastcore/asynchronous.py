"""A worker loop inside asyncio, and the tasks of its asynchronous answers. Imported by the first coroutine, not before.

The worker loop stays what it is, a `step()` around its own epoll descriptor, which an event loop can watch like any
other. An answer has one task from its first line to its last, so that what an application nests in it (time-outs, task
groups) is left by the task that entered it. No sockets, records or answers here: `worker` and `exchange` are the
twin's, which hand over a `waiting` exchange and get it back.
"""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import threading
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Literal

from fastcore.errors import ClientGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastcore.log import Log

EventLoopName = Literal["auto", "asyncio", "uvloop"]
CANCEL_SECONDS = 5.0
"""Seconds that a cancelled task may take to end before that is complained about, and at the end not waited for."""
PIECES = 16
"""Pieces of one body that are taken before the other tasks have their turn."""


def new_event_loop(name: EventLoopName) -> asyncio.AbstractEventLoop:
    """An event loop: uvloop's where `name` says so or, for "auto", where it is installed; else asyncio's own.

    Raises ImportError where uvloop is asked for and not installed.
    """
    if name == "uvloop" or (name == "auto" and importlib.util.find_spec("uvloop") is not None):
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.SelectorEventLoop()


class Answer:
    """The task of one exchange: awaits what the application returned, and takes pieces of its body while it may."""

    __slots__ = ("_cancelled", "_channel", "_exchange", "_host", "_overdue", "_room", "_task", "_wanted")

    def __init__(self, host: Host, channel: Any, exchange: Any) -> None:
        self._cancelled = False
        self._host = host
        self._channel = channel
        self._exchange = exchange
        self._room: asyncio.Future[None] | None = None  # what the task waits for while its reader is busy
        self._wanted = False  # a further piece
        self._overdue: asyncio.TimerHandle | None = None
        self._task = host.loop.create_task(self._run(), context=exchange.context)
        self._task.add_done_callback(self._end, context=host.context.copy())

    def go_on(self) -> None:
        """The reader can take more."""
        self._wanted = True
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def cancel(self) -> None:
        """Nobody wants the answer any more; once."""
        if not self._cancelled:
            self._cancelled = True
            self._task.cancel()
            self._overdue = self._host.loop.call_later(CANCEL_SECONDS, self._complain, context=self._host.context)

    def is_cancelled(self) -> bool:
        """Whether cancel() was called; what the application cancels of its own is its own."""
        return self._cancelled

    async def _run(self) -> None:
        exchange = self._exchange
        try:
            while not self.is_cancelled() and (awaitable := exchange.take_awaitable()) is not None:
                exchange.settle(await awaitable)
            if exchange.stream is not None and not self.is_cancelled():
                await self._send(exchange.stream)
        except KeyboardInterrupt as error:
            self._host.fail(error)
            return
        except BaseException as error:
            if not self.is_cancelled():
                exchange.fail()
            elif not isinstance(error, asyncio.CancelledError | GeneratorExit | ClientGone):
                exchange.log_failure("the application failed when it was cancelled")
        # PERF: at once, where the task has not to be left first: cancelled ones have not ended yet, and what calls the
        # application again does so in its context, which is ours.
        if not self.is_cancelled() and not exchange.calls_application():
            self._task.remove_done_callback(self._end)
            self._end()

    async def _send(self, body: Any) -> None:
        """Hand over the pieces of an asynchronous body, each when the one before has left; then close it."""
        exchange = self._exchange
        pieces = 0
        try:
            iterator = aiter(body) if exchange.wants_more() else body
            while exchange.wants_more():
                try:
                    piece = await anext(iterator)
                except StopAsyncIteration:
                    break
                if self.is_cancelled():  # which the body has swallowed
                    break
                exchange.put(piece)
                pieces += 1
                if exchange.waiting:  # an empty piece
                    await asyncio.sleep(0)
                    continue
                self._wanted = False
                self._host.hand_over(self._channel, exchange)
                if self.is_cancelled():
                    await asyncio.sleep(0)  # where it is raised, not in the body's aclose()
                elif not self._wanted:
                    self._room = self._host.loop.create_future()
                    await self._room
                    self._room = None
                elif pieces % PIECES == 0:
                    await asyncio.sleep(0)
        finally:
            await self._close(body)

    async def _close(self, body: Any) -> None:
        """The body's `aclose()`, or `close()`: called once, whatever happened."""
        close: Callable[[], Awaitable[object] | None] | None = getattr(body, "aclose", None) or getattr(
            body, "close", None
        )
        if close is None:
            return
        try:
            closing = close()
            if hasattr(closing, "__await__"):
                await closing  # type: ignore[misc]
        except (KeyboardInterrupt, asyncio.CancelledError):
            raise
        except BaseException:
            self._exchange.log_failure("close() of the answer failed")

    def _end(self, task: asyncio.Task[None] | None = None) -> None:
        """Give the exchange back; by the task itself, or after it where it was cancelled."""
        channel, self._channel = self._channel, None
        if channel is not None:
            if self._overdue is not None:
                self._overdue.cancel()
            self._host.end(channel, self._exchange)

    def _complain(self) -> None:
        self._exchange.complain(f"the application goes on {CANCEL_SECONDS:g} s after it was cancelled")


class Host:
    """Runs one worker loop inside an event loop of its own until it is over.

    `loop` is the event loop, made here and closed by close(); `context` the one in which the worker's code runs.
    """

    def __init__(self, worker: Any, name: EventLoopName, log: Log) -> None:
        self.loop = new_event_loop(name)
        self.context: Context = copy_context()
        self._worker = worker
        self._log = log
        self._error: BaseException | None = None
        self._running = False
        self._closing = False
        self._ended: list[tuple[Any, Any]] = []
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def start(self, channel: Any, exchange: Any) -> Answer:
        """The task of a waiting exchange."""
        return Answer(self, channel, exchange)

    def run(self) -> None:
        """Serve until the worker is over. Raises what its step() raises, and KeyboardInterrupt."""
        worker, loop = self._worker, self.loop
        descriptor = worker.fileno()
        wakeup = _wakeup_descriptor()
        loop.add_reader(descriptor, self._step)
        loop.call_soon(self._step, context=self.context)
        self._running = True
        try:
            loop.run_forever()
        finally:
            self._running = False
            loop.remove_reader(descriptor)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if wakeup is not None:  # uvloop has put its own there
                signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        self._raise()

    def fail(self, error: BaseException) -> None:
        """End run() with this error."""
        self._error = self._error or error
        self._stop()

    def _stop(self) -> None:
        if self._running:  # once: uvloop counts, and the next run would end at once
            self._running = False
            self.loop.stop()

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def hand_over(self, channel: Any, exchange: Any) -> None:
        """The exchange has something to hand out. Called by its task: the worker's code runs in its own context."""
        self.context.run(self._do, self._worker.resume, channel, exchange)

    def end(self, channel: Any, exchange: Any) -> None:
        """The exchange's task has ended. Called by the task. Between run() and close() nothing is answered any more."""
        if self._running or self._closing:
            self.context.run(self._do, self._worker.end_waiting, channel, exchange)
        else:
            self._ended.append((channel, exchange))

    def _do(self, action: Callable[[Any, Any], None], channel: Any, exchange: Any) -> None:
        try:
            action(channel, exchange)
            self._plan()
        except BaseException as error:
            self.fail(error)

    def _step(self) -> None:
        self._scheduled = False
        try:
            self._worker.step(0.0)
            self._plan()
        except BaseException as error:
            self.fail(error)

    def _plan(self) -> None:
        """After a step: the end, or when the next one is due without an event; an idle worker has no timer."""
        worker, loop = self._worker, self.loop
        if not self._running:
            return
        if worker.is_over():
            self._stop()
            return
        seconds = worker.wait_time()
        if seconds < 0:
            return
        if seconds == 0:
            if not self._scheduled:
                self._scheduled = True
                loop.call_soon(self._step, context=self.context)
            return
        due = loop.time() + seconds
        if self._timer is None or due < self._timer_at - 0.001:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = due
            self._timer = loop.call_later(seconds, self._on_timer, context=self.context)

    def _on_timer(self) -> None:
        self._timer = None
        self._step()

    def close(self) -> None:
        """End all tasks, those that the application has left running too, and close the event loop."""
        loop = self.loop
        self._closing = True
        for channel, exchange in self._ended:
            self.end(channel, exchange)
        try:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                if not task.cancelling():
                    task.cancel()
            if tasks:
                _, left = loop.run_until_complete(asyncio.wait(tasks, timeout=CANCEL_SECONDS))
                if left:
                    self._log(f"{len(left)} tasks go on {CANCEL_SECONDS:g} s after they were cancelled: given up")
            loop.run_until_complete(_within(loop.shutdown_asyncgens()))
            loop.run_until_complete(_within(loop.shutdown_default_executor()))
        finally:
            loop.close()
        self._raise()


async def _within(closing: Awaitable[None]) -> None:
    await asyncio.wait([asyncio.ensure_future(closing)], timeout=CANCEL_SECONDS)


def _wakeup_descriptor() -> int | None:
    """The descriptor that signals are written to; None where this is not the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return None
    descriptor = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    return descriptor
