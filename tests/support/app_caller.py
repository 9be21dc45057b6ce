"""Calls a framework App as a server would: natively with a real fastcore.Request, or WSGI under wsgiref's validator."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Mapping
from typing import Any
from wsgiref.validate import validator

from fastcore import implementation
from fastcore.limits import DEFAULT_LIMITS
from framework.response import Response

INTERFACES = ("native", "wsgi")


class Answer:
    """What a client gets: `status`, `headers`, `body`."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def get(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) < 2 or name.lower() in ("set-cookie", "vary"), f"{name} is there twice"
        return found[0] if found else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def cgi_params(
    path: str = "/",
    method: str = "GET",
    *,
    script: str = "",
    query: str = "",
    host: str = "console.localhost",
    content_type: str | None = None,
    length: int | str | None = None,
    headers: Mapping[str, str] | None = None,
    **params: str,
) -> dict[str, str]:
    """CGI parameters; text is encoded as UTF-8 bytes seen as latin-1, as servers pass it."""
    made = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": script,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "console.localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "192.0.2.7",
        "HTTP_HOST": host,
    }
    if content_type is not None:
        made["CONTENT_TYPE"] = content_type
    if length is not None:
        made["CONTENT_LENGTH"] = str(length)
    for name, value in (headers or {}).items():
        made["HTTP_" + name.upper().replace("-", "_")] = value
    made.update(params)
    return {name: value.encode().decode("latin-1") for name, value in made.items()}


def native_request(pairs: list[tuple[bytes, bytes]], body: bytes = b"") -> Any:
    """A request of the pure twin, as the server hands it to an application."""
    twin = implementation.twin("pure")
    request = twin.request.Request(1, 1, False, twin.records.build_pairs(pairs))
    request.store_body(body, DEFAULT_LIMITS)
    request.finish_body()
    return request


def call(
    app: Any,
    path: str = "/",
    method: str = "GET",
    *,
    interface: str = "native",
    body: bytes = b"",
    raw: Mapping[str, str] | None = None,
    length: int | str | None = None,
    **options: Any,
) -> Answer:
    """One request to `app`. `raw` are parameters already as latin-1; `length` a Content-Length that lies."""
    following = b"the next request's bytes" if length is None else b""
    if length is None and (body or method in ("POST", "PUT", "PATCH")):
        length = len(body)
    params = {**cgi_params(path, method, length=length, **options), **(raw or {})}
    if interface == "native":
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in params.items()]
        return call_native(app, native_request(pairs, body))
    return call_wsgi(app, params, body, following)


def call_native(app: Any, request: Any) -> Answer:
    """One `native_request` to `app`."""
    response = app(request)
    if not isinstance(response, Response) or hasattr(response.body, "__aiter__"):
        response, body = asyncio.run(wait_for(response))
    else:
        body = response.body
    if not isinstance(body, bytes):
        try:
            chunks = list(body)
        finally:
            if hasattr(body, "close"):
                body.close()
        assert all(type(chunk) is bytes for chunk in chunks)
        body = b"".join(chunks)
    request.close()
    for name, value in response.headers:
        assert type(name) is str
        assert type(value) is str
        value.encode("latin-1")
    return Answer(response.status, response.headers, body)


async def wait_for(answer: Any) -> tuple[Response, Any]:
    """As the server awaits an answer and an asynchronous body."""
    response = await answer
    body = response.body
    if hasattr(body, "__aiter__"):
        try:
            body = b"".join([chunk async for chunk in body])
        finally:
            await response.body.aclose()
    return response, body


def call_wsgi(app: Any, params: dict[str, str], body: bytes, following: bytes = b"") -> Answer:
    """`following` is what comes on the connection after the body."""
    seen: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
        seen[:] = [int(status[:3]), headers]
        return seen.append

    environ: dict[str, Any] = {
        **params,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": params.get("REQUEST_SCHEME", "http"),
        "wsgi.input": io.BytesIO(body + following),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    checked = validator(app) if params.get("CONTENT_LENGTH", "0").isdecimal() else app  # the validator wants a number
    result = checked(environ, start_response)
    try:
        sent = b"".join(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    return Answer(seen[0], seen[1], sent)
