"""The last step of an answer: what the handler's Response means for this very request.

Media type by Accept, 304 by the client's conditions, cookies' paths, no body for HEAD, 204 and 304, and a last look at the
headers. The handler's Response is left as it is; a new one is returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framework.headers import check_header
from framework.negotiation import choose_media_type
from framework.response import BYTES, JSON, TEXT, Response

if TYPE_CHECKING:
    from framework.request import Request

_KNOWN_GOOD = (TEXT, JSON, BYTES)
_KEPT_IN_304 = ("cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary")  # RFC 9110 §15.4.5
_BODILESS = (204, 304)


def finish(response: Response, request: Request) -> Response:
    """`response` as it is sent for `request`. Raises ValueError where a header cannot be sent."""
    headers = response.headers.copy()
    body = response.body
    status = response.status
    method = request.method
    if response.media_types is not None:
        _negotiate(headers, response.media_types, request)
    if response.cookies is not None:
        for cookie in response.cookies:
            headers.append(("Set-Cookie", cookie.header(request.prefix)))
    headers = [pair if pair in _KNOWN_GOOD else check_header(*pair) for pair in headers]
    if response.conditional and status == 200 and (method == "GET" or method == "HEAD") and _has_it(headers, request):
        status = 304
        headers = [pair for pair in headers if pair[0].lower() in _KEPT_IN_304 or pair[0] == "Set-Cookie"]
    if status in _BODILESS:
        response.close()
        body = b""
        headers = [pair for pair in headers if pair[0].lower() not in ("content-type", "content-length")]
    elif type(body) is bytes:
        _declare_length(headers, len(body))
        if method == "HEAD":
            body = b""
    elif method == "HEAD":
        response.close()
        body = b""
    return Response._of(body, status, headers)


def _negotiate(headers: list[tuple[str, str]], media_types: tuple[str, ...], request: Request) -> None:
    for name, _ in headers:
        if name.lower() == "content-type":
            return
    chosen = choose_media_type(request.source.get("HTTP_ACCEPT"), media_types)
    headers.append(("Content-Type", f"{chosen}; charset=utf-8"))
    for index, (name, value) in enumerate(headers):
        if name.lower() == "vary":
            if "accept" not in (field.strip().lower() for field in value.split(",")):
                headers[index] = (name, f"{value}, Accept")
            return
    headers.append(("Vary", "Accept"))


def _declare_length(headers: list[tuple[str, str]], length: int) -> None:
    for name, _ in headers:
        if name.lower() == "content-length":
            return
    headers.append(("Content-Length", str(length)))


def _has_it(headers: list[tuple[str, str]], request: Request) -> bool:
    """Whether the client's copy is this version: If-None-Match, else If-Modified-Since (RFC 9110 section 13.2.2)."""
    fields = {name.lower(): value for name, value in headers}
    tags = request.source.get("HTTP_IF_NONE_MATCH")
    if tags is not None:
        etag = fields.get("etag", "").removeprefix("W/")
        return tags.strip() == "*" or (etag != "" and any(_weak(tag) == etag for tag in tags.split(",")))
    since = request.source.get("HTTP_IF_MODIFIED_SINCE")
    return since is not None and since == fields.get("last-modified")


def _weak(tag: str) -> str:
    return tag.strip().removeprefix("W/")
