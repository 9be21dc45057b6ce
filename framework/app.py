"""The application: a table of URLs and handlers as a native and a WSGI callable.

For each request: its path within the mount, the middleware, the table's handler, the Response as it is sent; and for
every exception on that way an error page. No parsing of bodies, no negotiation, no regexes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from framework.errors import HTTPError, error_response, failure_response, reason_of
from framework.finish import declare_length, finish
from framework.limits import DEFAULT_LIMITS, Limits
from framework.middleware import compose
from framework.mounts import Mounts
from framework.pending import Pending, Pieces, complete, with_errors
from framework.request import Request, check_host
from framework.response import TEXT, Response, SiteURL
from framework.urls import UnknownHandler, URLTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from framework.middleware import Middleware
    from framework.urls import Resolver

    StartResponse = Callable[..., Any]

MAX_KNOWN_HOSTS = 256
"""Host headers remembered as well-formed; then the memory is emptied."""


class App:
    """One back end's application.

    Args:
        urls: ``[(pattern, handler), (pattern, handler, name), …]``; the first regex that matches the path wins.
        middleware: callables ``(request, next) -> Response`` around everything, the first outermost.
        limits: what is accepted of clients.

    Raises URLTableError (or fastcore.routing.PatternError) for a table that could not work.

    `development` (False) shows tracebacks to clients. `urls` is the `URLTable`.

    Example::

        app = App([(r"/$", overview), (r"/user/(?P<id>\\d+)/$", User, "user")])
    """

    def __init__(
        self, urls: Iterable[Any], *, middleware: Sequence[Middleware] = (), limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.urls = URLTable(urls)
        self.limits = limits
        self.development = False
        self.backend = ""
        self._resolver: Resolver | None = None
        self._mounts: Mounts | None = None
        self._match = self.urls.match
        self._known_hosts: set[str] = set()
        for item in middleware:
            if not callable(item):
                raise TypeError(f"middleware is a callable (request, next), not {item!r}")
        self._handle: Callable[[Request], Response | Pending] = compose(middleware, self._dispatch)

    def mount(
        self,
        resolver: Resolver | None = None,
        backend: str = "",
        mounts: Iterable[Sequence[str]] = (),
        development: bool = False,
    ) -> None:
        """Tell the application where it stands in its site.

        Args:
            resolver: what knows the URLs of the other back ends.
            backend: this back end's name.
            mounts: its (host, prefix) pairs; a host of "*" is any. Without one, SCRIPT_NAME is the prefix.
            development: whether clients see tracebacks.

        Example: ``app.mount(mounts=[("*", "/status")])`` for a front end that serves it at /status.
        """
        pairs = [tuple(pair) for pair in mounts]
        self._resolver = resolver
        self.backend = backend
        self._mounts = Mounts(pairs, resolver, backend) if pairs else None
        self.development = development

    @overload
    def __call__(self, request: Any, /) -> Response: ...
    @overload
    def __call__(self, request: dict[str, Any], start_response: StartResponse, /) -> Iterable[bytes]: ...

    def __call__(self, request: Any, start_response: StartResponse | None = None, /) -> Any:
        """Answer a `fastcore.Request` with a Response; or a WSGI environ with an iterable of bytes (PEP 3333).

        Where the handler is `async def`, the server gets a Response to be awaited; a WSGI server waits here.
        """
        if start_response is not None:
            return self._answer_wsgi(request, start_response)
        return self._answer(request)

    def _answer(self, source: Any) -> Response | Pending:
        """The answer, ready to be sent. No exception leaves this but those that end the process."""
        try:
            request = Request(source, self)
        except HTTPError as error:
            request = Request.undecoded(source, self)
            return finish(error_response(request, error), request)
        try:
            self._locate(request)
            answer = self._handle(request)
            if isinstance(answer, Pending):
                return Pending(self._answer_later(request, answer))
            response = _finish_or_close(answer, request)
        except HTTPError as error:
            response = finish(error_response(request, error), request)
        except Exception as error:
            response = finish(failure_response(request, error), request)
        if source.content_length and type(response.body) is bytes:
            request.close()
        return response

    async def _answer_later(self, request: Request, pending: Pending) -> Response:
        """As `_answer`, for what has to be awaited."""
        try:
            response = _finish_or_close(await pending, request)
        except HTTPError as error:
            response = finish(error_response(request, error), request)
        except Exception as error:
            response = finish(failure_response(request, error), request)
        except BaseException:  # cancelled: nobody waits for the answer any more
            request.close()
            raise
        if request.source.content_length and type(response.body) is bytes:
            request.close()
        return response

    def _locate(self, request: Request) -> None:
        """Check the host, and find the prefix and the own path. Raises HTTPError 400 or 404."""
        host = request.source.get("HTTP_HOST")
        if host and host not in self._known_hosts:
            check_host(host)
            if len(self._known_hosts) >= MAX_KNOWN_HOSTS:
                self._known_hosts.clear()
            self._known_hosts.add(host)
        if self._mounts is not None:
            found = self._mounts.split(request)
            if found is None:
                raise HTTPError(404)
            request.prefix, request.path = found
            return
        prefix = request.prefix
        if prefix.endswith("/"):
            prefix = prefix.rstrip("/")
            request.path = "/" + request.path.removeprefix("/")
        if prefix.startswith("//"):
            prefix = "/" + prefix.lstrip("/")  # a path, not the beginning of another host's address
        request.prefix = prefix
        if not prefix and not request.path:
            request.path = "/"

    def _dispatch(self, request: Request) -> Response | Pending:
        """What the table's handler answers; an HTTPError is an answer as well."""
        try:
            path = request.path
            if not path:
                return self._add_slash(request)
            found = self._match(path)
            if found is None:
                found = self.urls.find_file(path) if request.method in ("GET", "HEAD") else None
                if found is None:
                    raise HTTPError(404)
            response = found[0].respond(request, found[1])
        except HTTPError as error:
            return error_response(request, error)
        return with_errors(request, response) if isinstance(response, Pending) else response

    def _add_slash(self, request: Request) -> Response:
        """The prefix alone: on to the prefix with a slash, so that relative addresses in the page are right."""
        if self._match("/") is None:
            raise HTTPError(404)
        location = encode_path(request.prefix) + "/"
        if request.query_string:
            location += "?" + encode_query(request.query_string)
        return Response.redirect(SiteURL(location), 308)

    def get_url(self, request: Request, reference: Any, params: Mapping[str, Any]) -> str:
        """The address of a handler as seen from `request`; see `Request.get_url`."""
        if isinstance(reference, str) and ":" in reference:
            backend, _, name = reference.partition(":")
            if backend != self.backend:
                if self._resolver is None:
                    raise UnknownHandler(
                        f"{reference!r} is of another back end, and this application is not mounted in a site"
                    )
                return SiteURL(
                    self._resolver.url(
                        reference, params, host=request.host, scheme=request.scheme, backend=self.backend
                    )
                )
            reference = name
        return SiteURL(encode_path(request.prefix) + self.urls.path(reference, params))

    def _answer_wsgi(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """PEP 3333: the answer by `start_response` and an iterable with `close`."""
        from framework.wsgi import EnvironSource

        response = self._answer(EnvironSource(environ))
        if isinstance(response, Pending):
            response = complete(response)
        headers, body, status = response.headers.copy(), response.body, response.status
        if hasattr(body, "__aiter__"):
            body = Pieces(body)
        if status not in (204, 304):
            if response.get_header("Content-Type") is None:
                headers.append(TEXT)  # wsgiref.validate wants one with an empty body too
            if isinstance(body, bytes):
                declare_length(headers, len(body))
        start_response(f"{status} {reason_of(status)}", headers)
        if isinstance(body, bytes):
            return [body] if body else []
        return body

    def __repr__(self) -> str:
        return f"<App {self.backend!r} of {len(self.urls)} URLs>" if self.backend else f"<App of {len(self.urls)} URLs>"


def _finish_or_close(response: Response, request: Request) -> Response:
    try:
        return finish(response, request)
    except BaseException:
        response.close()
        raise


def encode_path(path: str) -> str:
    """A decoded path percent-encoded."""
    if path.isascii() and path.replace("/", "").isalnum():
        return path
    from urllib.parse import quote

    return quote(path, safe="/:@!$&'()*+,;=~-._")


def encode_query(raw: str) -> str:
    """A query as CGI has it, with everything encoded that an address cannot have."""
    from urllib.parse import quote

    return quote(raw.encode("latin-1", "replace"), safe="!$%&'()*+,/:;=?@~-._[]")
