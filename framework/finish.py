"""The last step of an answer: what the handler's Response means for this very request.

Media type by Accept, 304 by the client's conditions, cookies' paths, no body for HEAD, 204 and 304, and a last look
at the headers. The handler's Response is left as it is. A Content-Length is the server's business, except for HEAD.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from framework.headers import check_header
from framework.negotiation import choose_media_type
from framework.response import BYTES, JSON, TEXT, Response

if TYPE_CHECKING:
    from framework.request import Request

_VARY = ("Vary", "Accept")
NO_STORE = ("Cache-Control", "no-store")
_KNOWN_GOOD = {TEXT, JSON, BYTES, _VARY, NO_STORE}
_page_types: dict[str, tuple[str, str]] = {}
# RFC 9110 section 15.4.5
_KEPT_IN_304 = ("cache-control", "content-location", "date", "etag", "expires", "last-modified", "vary")
_BODILESS = (204, 304)
MAX_PAGE_TYPES = 32
"""Media types of pages whose header is kept."""


def finish(response: Response, request: Request) -> Response:
    """`response` as it is sent for `request`. Raises ValueError where a header cannot be sent."""
    # PERF: the commonest answer is sent as it is; a new one would cost as much as the rest of the application.
    if (
        response.media_types is None
        and response.cookies is None
        and not response.conditional
        and response.status not in _BODILESS
        and request.method != "HEAD"
    ):
        for pair in response.headers:
            if pair not in _KNOWN_GOOD:
                break
        else:
            return response
    return _finish(response, request)


def know(*headers: tuple[str, str]) -> None:
    """Constant header fields that many answers have: checked here, once. Raises ValueError for what cannot be sent."""
    _KNOWN_GOOD.update(check_header(*pair) for pair in headers)


def _finish(response: Response, request: Request) -> Response:
    headers = response.headers.copy()
    if response.media_types is not None:
        _negotiate(headers, response.media_types, request)
    if response.cookies is not None:
        headers += [("Set-Cookie", cookie.header(request.prefix)) for cookie in response.cookies]
    headers = [pair if pair in _KNOWN_GOOD else check_header(*pair) for pair in headers]
    body, status, method = response.body, response.status, request.method
    if response.conditional and status == 200 and method in ("GET", "HEAD") and _has_it(headers, request):
        status = 304
        headers = [pair for pair in headers if pair[0].lower() in _KEPT_IN_304 or pair[0] == "Set-Cookie"]
    if status in _BODILESS:
        response.close()
        body = b""
        headers = [pair for pair in headers if pair[0].lower() not in ("content-type", "content-length")]
    elif method == "HEAD":
        if type(body) is bytes:
            declare_length(headers, len(body))
        response.close()
        body = b""
    return Response._of(body, status, headers)


def _negotiate(headers: list[tuple[str, str]], media_types: tuple[str, ...], request: Request) -> None:
    for name, _ in headers:
        if name.lower() == "content-type":
            return
    chosen = choose_media_type(request.source.get("HTTP_ACCEPT"), media_types)
    content_type = _page_types.get(chosen)
    if content_type is None:
        content_type = check_header("Content-Type", f"{chosen}; charset=utf-8")
        if len(_page_types) < MAX_PAGE_TYPES:
            _page_types[chosen] = content_type
            _KNOWN_GOOD.add(content_type)
    headers.append(content_type)
    for index, (name, value) in enumerate(headers):
        if name.lower() == "vary":
            if "accept" not in (field.strip().lower() for field in value.split(",")):
                headers[index] = (name, f"{value}, Accept")
            return
    headers.append(_VARY)


def declare_length(headers: list[tuple[str, str]], length: int) -> None:
    """Add a Content-Length of so many bytes, where there is none."""
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
