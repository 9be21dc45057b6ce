"""The handler of remote calls: POST is JSON-RPC 2.0, GET the ES module that calls it.

Only exported names can be called; nothing is looked up by attribute. A POST from another origin is refused before its
body is read, and the JSON media type makes browsers ask before they send one across origins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from framework.errors import HTTPError, too_large
from framework.handlers import methods
from framework.response import Response
from framework.rpc.binding import RemoteFunction
from framework.rpc.limits import DEFAULT_CALL_LIMITS, CallLimits

if TYPE_CHECKING:
    from framework.request import Request


class Proxy:
    """Exported functions at one URL.

    Args:
        functions: functions, each under its own name; or a mapping of names to functions.
        limits: what callers may send.

    Raises TypeError or ValueError for what cannot be exported.

    Example::

        def disks() -> list[dict[str, int]]: ...

        app = App([(r"/rpc$", Proxy([disks]), "rpc")])
        # in a page:  import status from "/status/rpc"; console.log(await status.disks());
    """

    def __init__(
        self,
        functions: Iterable[Callable[..., Any]] | Mapping[str, Callable[..., Any]],
        *,
        limits: CallLimits = DEFAULT_CALL_LIMITS,
    ) -> None:
        if not isinstance(functions, Mapping):
            functions = _by_own_name(functions)
        self.limits = limits
        self.functions = {name: RemoteFunction(name, function) for name, function in functions.items()}
        if not self.functions:
            raise ValueError("a Proxy exports at least one function")
        self.__qualname__ = f"Proxy({', '.join(self.functions)})"
        self.__module__ = "framework.rpc"
        self._module: bytes | None = None
        self._tag = ""
        methods("GET", "POST")(self)

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer GET (the module) or POST (calls); to be awaited where a function that is called has to be."""
        if request.method == "POST":
            return self._answer_calls(request)
        return self._answer_module()

    def _answer_calls(self, request: Request) -> Response | Awaitable[Response]:
        check_origin(request)
        if request.content_type != "application/json":
            raise HTTPError(415, "Remote calls are sent as application/json.")
        length = request.content_length
        if length > self.limits.body_bytes:
            too_large("The call", self.limits.body_bytes)
        from framework.rpc.jsonrpc import Session

        body = request.body.read(length)
        if len(body) < length:
            raise HTTPError(400, f"The body ends after {len(body)} of {length} bytes.")
        answer = Session(self.functions, request, self.limits).answer(body)
        return _respond(*answer) if isinstance(answer, tuple) else _respond_later(answer)

    def _answer_module(self) -> Response:
        if self._module is None:
            from hashlib import blake2b

            self._module = make_module(self.functions)
            self._tag = blake2b(self._module, digest_size=12).hexdigest()
        response = Response(self._module, content_type="text/javascript; charset=utf-8")
        response.add_header("Cache-Control", "no-cache")
        response.add_header("X-Content-Type-Options", "nosniff")
        response.add_header("Cross-Origin-Resource-Policy", "same-origin")
        response.set_etag(self._tag)
        return response

    def __repr__(self) -> str:
        return f"<{self.__qualname__}>"


def _respond(status: int, answer: bytes) -> Response:
    response = Response(answer, status, content_type="application/json")
    response.add_header("Cache-Control", "no-store")
    if answer:
        response.add_header("X-Content-Type-Options", "nosniff")
    return response


async def _respond_later(answer: Awaitable[tuple[int, bytes]]) -> Response:
    return _respond(*await answer)


def _by_own_name(functions: Iterable[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    named: dict[str, Callable[..., Any]] = {}
    for function in functions:
        name = getattr(function, "__name__", "")
        if name in named:
            raise ValueError(f"two functions are called {name!r}; give one another name: Proxy({{name: function}})")
        named[name] = function
    return named


def check_origin(request: Request) -> None:
    """Raise HTTPError 403 where a browser says that the call comes from a page of another origin.

    Programs that are no browsers send neither Origin nor Sec-Fetch-Site.
    """
    site = request.source.get("HTTP_SEC_FETCH_SITE")
    if site and site not in ("same-origin", "none"):
        raise HTTPError(403, "Remote calls are taken from pages of this very address only.")
    origin = request.source.get("HTTP_ORIGIN")
    if origin:
        scheme, _, authority = origin.lower().partition("://")
        if authority != request.host or (request.scheme == "https" and scheme != "https"):
            raise HTTPError(403, "Remote calls are taken from pages of this very address only.")


def make_module(names: Iterable[str]) -> bytes:
    """The ES module whose default export has these methods."""
    from importlib.resources import files

    source = (files("framework.rpc") / "client.js").read_text(encoding="utf-8")
    listed = ", ".join(f'"{name}"' for name in names)
    return f"{source}\nexport default bind(new URL(import.meta.url.split(/[?#]/)[0]).href, [{listed}]);\n".encode()
