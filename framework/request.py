"""What a client asked for, read from its source when first asked for. No routing and no answers here.

Always holds: bad input raises an HTTPError with a text for the person who sent it (400, 413, 415), and never another
exception. A source is a `fastcore.Request` or a WSGI environ (`framework.wsgi.EnvironSource`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, BinaryIO

from framework.errors import BadRequest, HTTPError, too_large
from framework.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from framework.app import App
    from framework.formdata import UploadedFile
    from framework.headers import Headers
    from framework.limits import Limits
    from framework.multidict import MultiDict

_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._\-]{0,253})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_NUL = "\0"


def check_host(host: str) -> str:
    """`host` in lower case if it is ``name``, ``address`` or ``[address]``, with or without a port; else BadRequest."""
    if not _HOST.fullmatch(host):
        raise BadRequest("The Host header is not a host name.")
    return host.lower()


def decode_path(raw: str) -> str:
    """A path as CGI has it (latin-1) as the UTF-8 text that it is; BadRequest where it is none."""
    if not raw.isascii():
        try:
            raw = raw.encode("latin-1").decode()
        except UnicodeError:
            raise BadRequest("The path is not UTF-8.") from None
    if _NUL in raw:
        raise BadRequest("The path has a NUL character.")
    return raw


class Request:
    """One request as a handler sees it.

    `method` as sent; `path` the decoded path within this back end, beginning with "/"; `prefix` where the back end is
    mounted (``prefix + path`` is `full_path`); `source` the server's own object; `app` the application, or None;
    `context` a dict in which middleware leaves things for handlers (``request.context["user"]``).

    Example::

        def show(request: Request) -> str:
            return f"{request.method} {request.path} for {request.query.get('name', 'nobody')}"
    """

    __slots__ = (
        "_context",
        "_cookies",
        "_data",
        "_files",
        "_form",
        "_headers",
        "_host",
        "_json",
        "_query",
        "app",
        "method",
        "path",
        "prefix",
        "source",
    )

    # Read from the source when first asked for; absent before.
    _context: dict[str, Any]
    _cookies: dict[str, str]
    _data: bytes
    _files: MultiDict[UploadedFile]
    _form: MultiDict[str]
    _headers: Headers
    _host: str
    _json: Any
    _query: MultiDict[str]

    def __init__(self, source: Any, app: App | None = None) -> None:
        """Without an application SCRIPT_NAME is the prefix. Raises BadRequest for a path that is not UTF-8."""
        self.source = source
        self.app = app
        get = source.get
        self.method: str = get("REQUEST_METHOD") or "GET"
        self.prefix: str = decode_path(get("SCRIPT_NAME") or "")
        self.path: str = decode_path(get("PATH_INFO") or "")

    @classmethod
    def undecoded(cls, source: Any, app: App | None = None) -> Request:
        """A request whose path cannot be read, for its error page; its path is empty."""
        self = cls.__new__(cls)
        self.source = source
        self.app = app
        self.method = source.get("REQUEST_METHOD") or "GET"
        self.prefix = self.path = ""
        return self

    @property
    def full_path(self) -> str:
        """The whole path as the client sees it, decoded: ``prefix + path``."""
        return self.prefix + self.path

    @property
    def limits(self) -> Limits:
        """The application's limits."""
        return DEFAULT_LIMITS if self.app is None else self.app.limits

    @property
    def context(self) -> dict[str, Any]:
        """What middleware left for handlers; empty at first."""
        try:
            return self._context
        except AttributeError:
            self._context = {}
            return self._context

    @property
    def headers(self) -> Headers:
        """The header fields, by name in any case; BadRequest where one came twice (see `framework.headers.Headers`)."""
        try:
            return self._headers
        except AttributeError:
            from framework.headers import DuplicateHeader, Headers

            params = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.source.params)
            try:
                self._headers = Headers.from_params(params)
            except DuplicateHeader as error:
                raise BadRequest(str(error)) from None
            return self._headers

    @property
    def host(self) -> str:
        """The host that the client named, in lower case, with its port where it named one: ``"localhost:8080"``.

        Without a Host header (HTTP/1.0) it is the server's own name. Raises BadRequest for what is no host.
        """
        try:
            return self._host
        except AttributeError:
            host = self.source.get("HTTP_HOST")
            if not host:
                host = self.source.get("SERVER_NAME") or "localhost"
                if ":" in host and not host.startswith("["):
                    host = f"[{host}]"
                port = self.source.get("SERVER_PORT") or "80"
                if port != ("443" if self.scheme == "https" else "80"):
                    host = f"{host}:{port}"
            self._host = check_host(host)
            return self._host

    @property
    def scheme(self) -> str:
        """``"https"`` or ``"http"``, as the front end says it; X-Forwarded-Proto is not believed."""
        get = self.source.get
        scheme = get("wsgi.url_scheme") or get("REQUEST_SCHEME")
        if scheme:
            return "https" if scheme.lower() == "https" else "http"
        return "https" if (get("HTTPS") or "").lower() in ("on", "1") else "http"

    @property
    def remote_addr(self) -> str:
        """The client's address as the front end sees it, empty where it says none; X-Forwarded-For is not believed."""
        return self.source.get("REMOTE_ADDR") or ""

    @property
    def remote_user(self) -> str | None:
        """The user whom the front end has authenticated, else None. No header can set this."""
        return self.source.get("REMOTE_USER") or None

    @property
    def content_type(self) -> str:
        """The body's media type in lower case, without its parameters; empty where there is none."""
        return (self.source.get("CONTENT_TYPE") or "").partition(";")[0].strip().lower()

    @property
    def content_length(self) -> int:
        """Bytes of the body, 0 where nobody knows them before it is read; BadRequest for what is no number."""
        length: int = self.source.content_length
        if length < -1:
            raise BadRequest("The Content-Length is not a number.")
        return max(length, 0)

    @property
    def query_string(self) -> str:
        """The query as sent, without "?"."""
        return self.source.get("QUERY_STRING") or ""

    @property
    def query(self) -> MultiDict[str]:
        """The query's fields: ``request.query.get("page", 1, type=int)``, ``.getlist("tag")``."""
        try:
            return self._query
        except AttributeError:
            from framework.formdata import parse_query

            self._query = parse_query(self.query_string, self.limits.query_fields)
            return self._query

    @property
    def cookies(self) -> dict[str, str]:
        """Cookies by name; what no browser sends is a BadRequest, what is merely odd is skipped."""
        try:
            return self._cookies
        except AttributeError:
            from framework.cookies import parse_cookies

            self._cookies = parse_cookies(self.source.get("HTTP_COOKIE") or "", self.limits.cookies)
            return self._cookies

    @property
    def body(self) -> BinaryIO:
        """The body as a binary file (read, readline, iteration), for handlers that take it as it comes."""
        body: BinaryIO = self.source.body
        return body

    @property
    def data(self) -> bytes:
        """The whole body in memory; HTTPError 413 over `Limits.body_bytes`, BadRequest where the client broke off."""
        try:
            return self._data
        except AttributeError:
            limit = self.limits.body_bytes
            length = self.content_length
            if length > limit:
                too_large("The body", limit)
            if self.source.content_length == -1:  # it is streamed, and nobody said how long it is
                data = self.body.read(limit + 1)
                if len(data) > limit:
                    too_large("The body", limit)
            else:
                data = self.body.read(length)
            if len(data) < length:
                raise BadRequest(f"The body ends after {len(data)} of {length} bytes.") from None
            self._data = data
            return data

    @property
    def json(self) -> Any:
        """The body as JSON. HTTPError 415 for another media type, 400 for what is malformed, 413 over the limit."""
        try:
            return self._json
        except AttributeError:
            kind = self.content_type
            if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
                raise HTTPError(415, "This address takes application/json.") from None
            from orjson import JSONDecodeError, loads

            try:
                self._json = loads(self.data)
            except JSONDecodeError as error:
                raise BadRequest(f"The JSON is malformed: {error}.") from None
            return self._json

    @property
    def form(self) -> MultiDict[str]:
        """The fields of a submitted form; empty where there is no body. HTTPError 400, 413, 415 as `json`."""
        try:
            return self._form
        except AttributeError:
            self._read_form()
            return self._form

    @property
    def files(self) -> MultiDict[UploadedFile]:
        """The files of a submitted form, each with `filename`, `content_type`, `size`, `read()`, `save(path)`."""
        try:
            return self._files
        except AttributeError:
            self._read_form()
            return self._files

    def _read_form(self) -> None:
        from framework.formdata import MultipartForm, parse_content_type, parse_urlencoded
        from framework.multidict import MultiDict

        kind, parameters = parse_content_type(self.source.get("CONTENT_TYPE"))
        if kind == "multipart/form-data":
            boundary = parameters.get("boundary", "")
            if not 1 <= len(boundary) <= 70:  # RFC 2046 section 5.1.1
                raise BadRequest("The multipart form has no boundary of 1 to 70 characters.")
            if self.content_length > self.limits.upload_bytes:
                too_large("The form", self.limits.upload_bytes)
            self._form, self._files = MultipartForm(boundary, self.limits).read(self.body)
            return
        if kind == "application/x-www-form-urlencoded":
            form = parse_urlencoded(self.data, self.limits.form_fields)
        elif self.content_length == 0 and not self.data:
            form = MultiDict((), "form")
        else:
            raise HTTPError(415, "This address takes a submitted form.")
        self._form = form
        self._files = MultiDict((), "files")

    def close(self) -> None:
        """Free what was uploaded. The App calls this when the answer is made."""
        try:
            files = self._files
        except AttributeError:
            return
        for _, file in files.pairs():
            file.close()

    def get_url(self, handler: Any, /, **params: Any) -> str:
        """The address of a handler: the object, ``"name"``, or ``"backend:name"`` for another back end of the site.

        A path within this host where the host serves that back end, else a URL with scheme and host. Raises
        `framework.UnknownHandler` (a LookupError) for what nobody has, ValueError for parameters that do not fit.

        Example: ``request.get_url(show_user, id=7) == "/status/user/7/"``.
        """
        if self.app is None:
            raise LookupError("this request belongs to no App, so it knows no URLs")
        return self.app.get_url(self, handler, params)

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.full_path!r}>"
