"""Answers of `async def` handlers: a Response that is not there yet, and how it is waited for. No event loop here.

The server awaits it (docs/async.md). Where the application is called as a WSGI one, which can only block, it is run to
its end in an event loop of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framework.errors import HTTPError, error_response

if TYPE_CHECKING:
    from asyncio import Runner
    from collections.abc import Awaitable, Coroutine, Generator, Iterator
    from typing import Any

    from framework.request import Request
    from framework.response import Response


class Pending:
    """The answer of an asynchronous handler: awaited, it gives its Response."""

    __slots__ = ("_coroutine",)

    def __init__(self, coroutine: Coroutine[Any, Any, Response]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Response]:
        return self._coroutine.__await__()

    def close(self) -> None:
        """Give it up before it was awaited."""
        self._coroutine.close()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the answer of an async handler has no {name!r} before it was awaited;"
            " a middleware that looks at it is `async def` and says `await next(request)`"
        )

    def __repr__(self) -> str:
        return f"<Pending {self._coroutine!r}>"


def pend(awaitable: Awaitable[Any]) -> Pending:
    """What an async handler returned, as an answer; the awaitable's result may be all that a handler may return."""
    return awaitable if isinstance(awaitable, Pending) else Pending(_response_of(awaitable))


async def _response_of(awaitable: Awaitable[Any]) -> Response:
    from framework.response import to_response

    return await to_response(await awaitable)


def with_errors(request: Request, pending: Pending) -> Pending:
    """The same, with an HTTPError become its page."""
    return Pending(_or_error(request, pending))


async def _or_error(request: Request, pending: Pending) -> Response:
    try:
        return await pending
    except HTTPError as error:
        return error_response(request, error)


def complete(pending: Pending) -> Response:
    """The Response, waited for here, with a body that is iterated as any other. For WSGI."""
    from asyncio import Runner

    runner = Runner()
    try:
        response = runner.run(_response_of(pending))
    except BaseException:
        runner.close()
        raise
    if hasattr(response.body, "__aiter__"):
        response.body = Pieces(response.body, runner)
    else:
        runner.close()
    return response


class Pieces:
    """An asynchronous body as an iterator that blocks; each piece is waited for in a task of its own."""

    __slots__ = ("_body", "_iterator", "_runner")

    def __init__(self, body: Any, runner: Runner | None = None) -> None:
        if runner is None:
            from asyncio import Runner

            runner = Runner()
        self._body = body
        self._iterator: Any = None
        self._runner = runner

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = aiter(self._body)
        try:
            piece: bytes = self._runner.run(_next(self._iterator))
        except StopAsyncIteration:
            raise StopIteration from None
        return piece

    def close(self) -> None:
        """End the body and its event loop."""
        try:
            aclose = getattr(self._body, "aclose", None)
            if aclose is not None:
                self._runner.run(_wait_for(aclose()))
        finally:
            self._runner.close()


async def _next(iterator: Any) -> Any:
    return await anext(iterator)


async def _wait_for(awaitable: Awaitable[object]) -> None:
    await awaitable
