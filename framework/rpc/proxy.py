"""The handler of remote calls: POST is JSON-RPC 2.0, GET the ES module that calls it.

Only exported names can be called; nothing is looked up by attribute. A POST from another origin is refused before its
body is read, and the JSON media type makes browsers ask before they send one across origins.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from framework.errors import HTTPError, problem_response, too_large
from framework.finish import NO_STORE, know
from framework.handlers import methods
from framework.response import Response
from framework.rpc.binding import RemoteFunction
from framework.rpc.limits import DEFAULT_CALL_LIMITS, CallLimits

if TYPE_CHECKING:
    from framework.request import Request
    from framework.rpc.exported import Exported
    from framework.rpc.jsonrpc import Session
    from framework.rpc.module import Module
    from framework.rpc.options import Allow


DISCOVER = "rpc.discover"
"""OpenRPC's name for the function that describes the others (its section "Service Discovery Method")."""

_MEDIA_TYPES = {"application/json": False, "application/json; values=tagged": True}
_NO_MARKS = re.compile(r"[ \t\"]+")
_HEAD = (("X-Content-Type-Options", "nosniff"), NO_STORE)
_PLAIN = [("Content-Type", "application/json"), *_HEAD]
_TAGGED = [("Content-Type", "application/json; values=tagged"), *_HEAD]
_STREAM = [("Content-Type", "application/x-ndjson"), NO_STORE, ("X-Accel-Buffering", "no")]  # nginx: each line at once
know(*_PLAIN, *_TAGGED, *_STREAM)


class Proxy:
    """Exported functions at one URL.

    Args:
        functions: functions, each under its own name; or a mapping of names to functions, objects and mappings; or an
            object. Of an object its public methods are exported, those of a mapping under dotted names: with
            ``{"disks": Disks()}`` a page calls ``status.disks.list()``.
        limits: what callers may send.
        allow: asked before each call with the request and the arguments by name; `framework.rpc.remote` has it for one
            function.
        heartbeat: seconds without an item after which a stream sends a sign of life. Behind a front end that learns
            only when it writes that its client has gone (lighttpd), it is also how soon a generator is ended.
        token: where there is a session: gives the secret of the request's, at least 16 characters that no other site
            can guess, or None where it has none. The module carries it for its page; calls of that session without it
            are refused with 403.
        discover: whether ``rpc.discover`` describes the functions as an OpenRPC document.

    Raises TypeError or ValueError for what cannot be exported.

    Example::

        def disks() -> list[dict[str, int]]: ...

        app = App([(r"/rpc$", Proxy([disks]), "rpc")])
        # in a page:  import status from "/status/rpc"; console.log(await status.disks());
    """

    def __init__(
        self,
        functions: Iterable[Callable[..., Any]] | Mapping[str, Any] | object,
        *,
        limits: CallLimits = DEFAULT_CALL_LIMITS,
        allow: Allow | None = None,
        heartbeat: float = 0.75,
        token: Callable[[Request], str | None] | None = None,
        discover: bool = True,
    ) -> None:
        if not heartbeat > 0:
            raise ValueError(f"heartbeat is a number of seconds above 0, not {heartbeat!r}")
        self.heartbeat = heartbeat
        self.limits = limits
        self.functions = {name: RemoteFunction(name, function, allow) for name, function in flatten(functions).items()}
        if not self.functions:
            raise ValueError("a Proxy exports at least one function")
        self.token = token
        self._callable = dict(self.functions)
        if discover:
            self._callable[DISCOVER] = RemoteFunction._of_protocol(DISCOVER, self._describe, allow)
        self.__qualname__ = f"Proxy({', '.join(self.functions)})"
        self.__module__ = "framework.rpc"
        self._module: Module | None = None
        self._document: dict[str, Any] | None = None
        self._session: type[Session] | None = None  # imported with the first call
        methods("GET", "POST")(self)

    def __getattr__(self, name: str) -> Exported:
        """`proxy.restart`, `proxy.disks.list`: an exported function, for `button.calls(proxy.restart)`.

        One whose name the Proxy has itself (`limits`) is ``proxy["limits"]``.
        """
        if name.startswith("_") or "functions" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        from framework.rpc.exported import exported

        return exported(self, name)

    def __getitem__(self, name: str) -> Exported:
        from framework.rpc.exported import exported

        return exported(self, name)

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer GET (the module) or POST (calls); to be awaited where a function that is called has to be."""
        if request.method == "POST":
            try:
                return self._answer_calls(request)
            except HTTPError as error:
                return problem_response(error)  # whatever its Accept says: who calls is a program
        return self._answer_module(request)

    def _answer_calls(self, request: Request) -> Response | Awaitable[Response]:
        check_origin(request)
        if self.token is not None:
            self._check_token(request, self.token(request))
        source = request.source
        tagged = _MEDIA_TYPES.get(source.get("CONTENT_TYPE"))
        if tagged is None:
            if request.content_type != "application/json":
                raise HTTPError(415, "Remote calls are sent as application/json.")
            tagged = is_tagged(source.get("CONTENT_TYPE"))
        length = request.content_length
        if length > self.limits.body_bytes:
            too_large("The call", self.limits.body_bytes)
        unknown = source.content_length == -1  # it is streamed, and nobody said how long it is
        body = source.body.read(self.limits.body_bytes + 1 if unknown else length)
        if len(body) > self.limits.body_bytes:
            too_large("The call", self.limits.body_bytes)
        if len(body) < length:
            raise HTTPError(400, f"The body ends after {len(body)} of {length} bytes.")
        session = self._session
        if session is None:
            from framework.rpc.jsonrpc import Session

            self._session = session = Session
        calls = session(self._callable, request, self.limits, tagged, self.heartbeat)
        answer = calls.answer(body)
        if isinstance(answer, tuple):
            return self._respond(calls, *answer)
        return self._respond_later(calls, answer)

    def _respond(self, session: Session, status: int, answer: bytes) -> Response:
        if session.stream is not None:
            return Response._of(session.stream, 200, _STREAM.copy())
        headers = _TAGGED if session.tagged else _PLAIN
        response = Response._of(answer, status, headers.copy() if answer else [NO_STORE])
        if session.refused:
            response.add_header("RPC-Version", self.version)
        return response

    async def _respond_later(self, session: Session, answer: Awaitable[tuple[int, bytes]]) -> Response:
        return self._respond(session, *await answer)

    def _check_token(self, request: Request, wanted: str | None) -> None:
        """Raise HTTPError 403 where a session's call has not its token."""
        if wanted is None:
            return
        from hmac import compare_digest

        check_secret(wanted)
        given = request.source.get("HTTP_RPC_TOKEN") or ""
        if not compare_digest(given.encode("latin-1", "replace"), wanted.encode()):
            raise HTTPError(403, "This page's session has ended or is another one: reload the page.")

    def _describe(self, request: Request) -> dict[str, Any]:
        """The functions at this address as an OpenRPC document."""
        if self._document is None:  # the schemas cost milliseconds
            from framework.rpc.openrpc import make_document

            self._document = make_document(self.functions, self.version)
        url = f"{request.scheme}://{request.host}{request.full_path}"
        return {**self._document, "servers": [{"name": "This address", "url": url}]}

    @property
    def version(self) -> str:
        """A hash of what callers see: the names and signatures of the functions, and the client."""
        return self._made().version

    def _made(self) -> Module:
        if self._module is None:
            from framework.rpc.module import Module

            self._module = Module(self.functions, self.limits)
        return self._module

    def module_url(self, request: Request) -> str:
        """The address of the ES module with its version in the file's name: browsers keep it for a year.

        Where another entry of the URL table takes all paths below this one, the version is in the query.
        Example: ``page.head.add_script_module(...)`` with ``import status from "{proxy.module_url(request)}"``.
        """
        from urllib.parse import unquote

        url, app = request.get_url(self), request.app
        file = f"{url if url.endswith('/') else url + '/'}proxy.{self.version}.mjs"
        if app is not None and app.urls.leads_to(unquote(file)[len(request.prefix) :], self):
            return file
        return f"{url}?{self.version}.mjs"

    def __has_file__(self, name: str) -> bool:
        """Whether the URL table shall lead a file of this name, below this handler's path, here."""
        from framework.rpc.module import is_file

        return is_file(name)

    def declarations(self) -> str:
        """The TypeScript declarations of the module, as GET gives them at ``proxy.d.ts``."""
        from framework.rpc.typescript import make_declarations

        return make_declarations(self.functions)

    def _answer_module(self, request: Request) -> Response:
        from framework.rpc.module import DECLARATIONS, is_file, make_calls, version_asked_for

        folder, _, name = request.path.rpartition("/")
        home = self._home(request, folder) if is_file(name) else ""
        if not home:
            name = request.source.get("QUERY_STRING") or ""
        if name == DECLARATIONS:
            response = Response(self.declarations().encode(), content_type="text/plain; charset=utf-8")
            response.add_header("X-Content-Type-Options", "nosniff")
            return response
        if name.startswith("calls."):
            text, version = make_calls()
            return _answer_script(text, version, is_kept=name == f"calls.{version}.mjs")
        module, asked = self._made(), version_asked_for(name)
        if self.token is not None:
            return self._answer_own_module(request, self.token(request), module, home, asked)
        version = module.version if asked in ("", module.version) else f"{module.version}.{asked}"
        return _answer_script(module.text(home, asked=asked), version, is_kept=asked == module.version)

    def _home(self, request: Request, folder: str) -> str:
        """The address of the functions as seen from a file in this folder; "" where they are not there."""
        from framework.app import encode_path

        if request.app is not None:
            for place, home in ((folder, "../" + encode_path(folder.rpartition("/")[2])), (f"{folder}/", "./")):
                found = request.app.urls.match(place) if place else None
                if found is not None and found[0].handler is self:
                    return home
        return ""

    def _answer_own_module(
        self, request: Request, secret: str | None, module: Module, home: str, asked: str
    ) -> Response:
        """The module of one session, which nobody keeps and no other site's page gets."""
        check_site(request)
        token = check_secret(secret) if secret is not None else ""
        response = _script(module.text(home, asked=asked, token=token))
        response.add_header("Cache-Control", "private, no-store")
        return response

    def __repr__(self) -> str:
        return f"<{self.__qualname__}>"


def _script(text: bytes) -> Response:
    response = Response(text, content_type="text/javascript; charset=utf-8")
    response.add_header("X-Content-Type-Options", "nosniff")
    response.add_header("Cross-Origin-Resource-Policy", "same-origin")
    return response


def _answer_script(text: bytes, version: str, *, is_kept: bool) -> Response:
    response = _script(text)
    response.add_header("Cache-Control", "public, max-age=31536000, immutable" if is_kept else "no-cache")
    response.set_etag(version)
    return response


def flatten(functions: Any, prefix: str = "") -> dict[str, Callable[..., Any]]:
    """Functions, objects and mappings as one mapping of dotted names to functions. Raises TypeError, ValueError."""
    if isinstance(functions, list | tuple | set | frozenset) or hasattr(functions, "__next__"):
        functions = _by_own_name(functions)
    if not isinstance(functions, Mapping):
        functions = _methods_of(functions)
    flat: dict[str, Callable[..., Any]] = {}
    for name, value in functions.items():
        if isinstance(value, Mapping) or (not callable(value) and type(value).__module__ != "builtins"):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    for name in flat:
        if any(other.startswith(name + ".") for other in flat):
            raise ValueError(f"{name!r} is the name of a function and of others inside it")
    return flat


def _methods_of(thing: Any) -> dict[str, Callable[..., Any]]:
    """The public methods of an object: what its class defines, no attributes and nothing that begins with "_"."""
    if callable(thing) or type(thing).__module__ == "builtins":
        raise TypeError(f"a list or a mapping of functions is needed, or an object with methods, not {thing!r}")
    return {
        name: getattr(thing, name)
        for name in dir(type(thing))
        if not name.startswith("_")
        and callable(getattr(type(thing), name))
        and not isinstance(getattr(type(thing), name), type)
    }


def _by_own_name(functions: Iterable[Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    named: dict[str, Callable[..., Any]] = {}
    for function in functions:
        name = getattr(function, "__name__", "")
        if name in named:
            raise ValueError(f"two functions are called {name!r}; give one another name: Proxy({{name: function}})")
        named[name] = function
    return named


def is_tagged(content_type: str | None) -> bool:
    """Whether a Content-Type says ``values=tagged``."""
    return content_type is not None and "values=tagged" in _NO_MARKS.sub("", content_type.lower()).split(";")[1:]


def host_and_port(request: Request) -> str:
    """The request's host with the server's port where the front end has left that out.

    Debian's nginx does (its fastcgi_params): there a page's own Origin has a port, and its Host has none.
    """
    host = request.host
    if ":" in host.rpartition("]")[2]:
        return host
    return f"{host}:{request.source.get('SERVER_PORT') or ''}"


def check_secret(secret: str) -> str:
    """A session's token, if it can be a header's value and is no empty or guessable one; else ValueError."""
    if type(secret) is not str or not 16 <= len(secret) <= 1000 or not secret.isascii() or not secret.isprintable():
        raise ValueError("the token of a Proxy is 16 to 1000 printable ASCII characters, or None")
    return secret


def check_site(request: Request) -> None:
    """Raise HTTPError 403 where a browser says that a request comes from another site's page."""
    site = request.source.get("HTTP_SEC_FETCH_SITE")
    if site and site not in ("same-origin", "none"):
        raise HTTPError(403, "Remote calls are taken from pages of this very address only.")


def check_origin(request: Request) -> None:
    """Raise HTTPError 403 where a browser says that the call comes from a page of another origin.

    Programs that are no browsers send neither Origin nor Sec-Fetch-Site.
    """
    check_site(request)
    get = request.source.get
    origin = get("HTTP_ORIGIN")
    if origin:
        host = get("HTTP_HOST") or ""
        if origin == "https://" + host or (origin == "http://" + host and request.scheme == "http"):
            return  # PERF: what browsers send; the App has looked at the host
        scheme, _, authority = origin.lower().partition("://")
        if authority not in (request.host, host_and_port(request)) or (request.scheme == "https" and scheme != "https"):
            raise HTTPError(403, "Remote calls are taken from pages of this very address only.")
