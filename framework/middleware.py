"""Middleware: a callable around the whole application or around one handler.

``middleware(request, next)`` calls ``next(request)`` for the Response of what is inside, or answers by itself. An
HTTPError raised inside has become a Response when it comes out; any other exception passes through as it is, so that
a transaction can be rolled back, and becomes the 500 at the door.

Where the handler is `async def`, ``next(request)`` gives what has to be awaited: a middleware that only looks at the
request passes it on, one that looks at the answer is `async def` and awaits it (which is right with any handler).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    from framework.pending import Pending
    from framework.request import Request
    from framework.response import Response

    Next = Callable[[Request], Any]
    Middleware = Callable[[Request, Next], Any]
    H = TypeVar("H", bound=Callable[..., Any])

ATTRIBUTE = "__framework_middleware__"


def around(*middleware: Middleware) -> Callable[[H], H]:
    """Decorate one handler, a function or a RequestHandler class, with middleware; the first is the outermost.

    The handler stays the same object, so `get_url` takes it as before.

    Example::

        @around(require_login)
        def settings(request): ...
    """
    for item in middleware:
        if not callable(item):
            raise TypeError(f"middleware is a callable (request, next), not {item!r}")

    def decorate(handler: H) -> H:
        own = getattr(handler, "__dict__", {}).get(ATTRIBUTE, ())
        inherited = () if own else getattr(handler, ATTRIBUTE, ())
        setattr(handler, ATTRIBUTE, (*middleware, *(own or inherited)))
        return handler

    return decorate


def middleware_of(handler: Any) -> tuple[Middleware, ...]:
    """What `around` put around a handler."""
    found: tuple[Middleware, ...] = getattr(handler, ATTRIBUTE, ())
    return found


def compose(middleware: Iterable[Middleware], inner: Next) -> Next:
    """`inner` with all middleware around it, the first outermost; what they return becomes a Response."""
    chain = inner
    for item in reversed(tuple(middleware)):
        chain = _layer(item, chain)
    return chain


def _layer(middleware: Middleware, inner: Next) -> Next:
    from framework.response import Response, to_response

    def layer(request: Request) -> Response | Pending:
        result = middleware(request, inner)
        return result if type(result) is Response else to_response(result)

    return layer
