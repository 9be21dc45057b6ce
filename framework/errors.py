"""Errors as answers: HTTPError, and the small page or JSON document that a client gets for it.

Always holds: an unexpected exception is logged with an id, and the client sees the id, never the traceback (except in
development). What the client sent is never repeated in a page or in the log unescaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from os import urandom
from typing import TYPE_CHECKING, NoReturn

from fastcore.statuses import REASONS
from framework.headers import check_header

if TYPE_CHECKING:
    from framework.request import Request
    from framework.response import Response

_DEFAULT_TEXTS = {
    400: "The server could not understand this request.",
    401: "This needs a login.",
    403: "You may not see or do this.",
    404: "There is nothing at this address.",
    405: "This address does not take this kind of request.",
    413: "What was sent is too large.",
    415: "What was sent has a media type that this address does not take.",
    500: "Something went wrong on the server. It was written to its log.",
    503: "This is not available at the moment.",
}

STYLE = (
    ":root{color-scheme:light dark;--page:#f6f7f8;--card:#fff;--text:#1c2126;--quiet:#59636e;--line:#d8dde2;"
    "--mark:#b3261e}"
    "@media (prefers-color-scheme:dark){:root{--page:#14171a;--card:#1d2125;--text:#e6e9ec;--quiet:#9aa5b1;"
    "--line:#343a41;--mark:#ff8a80}}"
    "body{margin:0;padding:12vh 1rem 2rem;background:var(--page);color:var(--text);font:1rem/1.5 system-ui,sans-serif}"
    "main{max-width:36rem;margin:0 auto;padding:1.75rem 2rem;background:var(--card);border:1px solid var(--line);"
    "border-top:4px solid var(--mark);border-radius:6px;overflow-wrap:anywhere}"
    "h1{margin:0 0 .75rem;font-size:1.375rem;line-height:1.25}"
    "h1 small{color:var(--quiet);font-weight:400;margin-right:.5rem}"
    "p{margin:.5rem 0}.id{color:var(--quiet);font-size:.875rem}"
    "pre{overflow:auto;padding:1rem;border:1px solid var(--line);border-radius:4px;font-size:.8125rem;line-height:1.4}"
    "main.wide{max-width:64rem}"
)
"""The style sheet of error pages; a Content-Security-Policy may allow it by its hash, `style_hash()`."""

_NONCHARACTERS = "".join(chr(plane << 16 | end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF))
# XML 1.0 section 2.2, HTML section 13.2.3.5
_ILLEGAL = f"[^\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]|[{_NONCHARACTERS}]"


class HTTPError(Exception):
    """An answer with an error status, raised from anywhere below a handler.

    Args:
        status: 400 to 599.
        text: a sentence for the person who reads the page; a general one where it is empty.
        headers: further header fields of the answer.

    Example: ``raise HTTPError(404, "There is no disk of this name.")``.
    """

    def __init__(self, status: int, text: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        if type(status) is not int or not 400 <= status <= 599:
            raise ValueError(f"the status of an HTTPError is from 400 to 599, not {status!r}")
        super().__init__(status, text)
        self.status = status
        self.text = text or _DEFAULT_TEXTS.get(status, "")
        self.headers = [check_header(name, value) for name, value in headers]

    def __str__(self) -> str:
        return f"{self.status} {reason_of(self.status)}: {self.text}"


class BadRequest(HTTPError):
    """What the client sent is malformed: a 400 whose page says what."""

    def __init__(self, text: str = "") -> None:
        super().__init__(400, text)


def too_large(what: str, limit: int) -> NoReturn:
    """Raise the 413 that says what is over which limit, in bytes."""
    raise HTTPError(413, f"{what} is larger than the {limit} bytes that are taken here.")


def reason_of(status: int) -> str:
    """The reason phrase of a status: ``reason_of(404) == "Not Found"``."""
    return REASONS.get(status, "Error" if status >= 400 else "Unknown")


def new_error_id() -> str:
    """Ten random characters that tie what a client sees to a line in the log."""
    return urandom(5).hex()


def log_error(request: Request | None, error: BaseException, what: str = "") -> str:
    """Write an unexpected exception with its traceback to the log `framework`; returns its new id."""
    import logging

    error_id = new_error_id()
    where = "" if request is None else f" in {ascii(request.method)[1:-1]} {ascii(request.full_path)[1:-1]}"
    logging.getLogger("framework").error(
        "error %s%s%s: %s", error_id, where, f" ({what})" if what else "", type(error).__name__, exc_info=error
    )
    return error_id


def format_traceback(error: BaseException) -> str:
    """The traceback as text, for development."""
    import traceback

    return "".join(traceback.format_exception(error))


def escape(text: str) -> str:
    """`text` for an XHTML element or attribute; characters that XML or HTML forbids become U+FFFD."""
    text = re.sub(_ILLEGAL, "\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def style_hash() -> str:
    """The source expression that allows `STYLE` in a Content-Security-Policy: ``'sha256-…'`` with its quotes."""
    import base64
    import hashlib

    return f"'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"


class ErrorPage:
    """One error as a page (see docs/architecture.md, "Pages and remote calls")."""

    __slots__ = ("error_id", "status", "text", "traceback")
    media_types = ("application/xhtml+xml", "text/html")

    def __init__(self, status: int, text: str, error_id: str = "", traceback: str = "") -> None:
        self.status = status
        self.text = text
        self.error_id = error_id
        self.traceback = traceback

    def encode(self) -> bytes:
        """The page as XHTML5 that is valid HTML as well, in UTF-8; no scripts, nothing loaded from elsewhere."""
        title = escape(reason_of(self.status))
        found = f'<p class="id">Error id: <code>{escape(self.error_id)}</code></p>' if self.error_id else ""
        seen = self.traceback.lstrip("\r\n")  # right behind <pre>, a line break would be one for XML only
        trace = f"<pre>{escape(seen)}</pre>" if seen else ""
        return (
            '<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" lang="en" xml:lang="en"><head>'
            f'<meta charset="utf-8"/><title>{self.status} {title}</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
            f"<style>{STYLE}</style></head><body><main{' class=' + chr(34) + 'wide' + chr(34) if trace else ''}>"
            f"<h1><small>{self.status}</small> {title}</h1><p>{escape(self.text)}</p>{found}{trace}"
            "</main></body></html>"
        ).encode()


def error_response(request: Request, error: HTTPError, *, error_id: str = "", traceback: str = "") -> Response:
    """The answer for `error`: a page, or RFC 9457's problem document where the client asks for JSON only."""
    from framework.negotiation import wants_only_json
    from framework.response import Response

    if wants_only_json(request.source.get("HTTP_ACCEPT")):
        response = problem_response(error, error_id=error_id, traceback=traceback)
        response.add_header("Vary", "Accept")
        return response
    response = Response.page(ErrorPage(error.status, error.text, error_id, traceback), status=error.status)
    response.add_header("X-Content-Type-Options", "nosniff")
    response.headers.append(("Cache-Control", "no-store"))
    response.headers.extend(error.headers)
    return response


def problem_response(error: HTTPError, *, error_id: str = "", traceback: str = "") -> Response:
    """The answer for `error` as RFC 9457's problem document, where only programs ask."""
    from framework.response import Response

    problem: dict[str, object] = {"title": reason_of(error.status), "status": error.status, "detail": error.text}
    if error_id:
        problem["id"] = error_id
    if traceback:
        problem["traceback"] = traceback
    response = Response.json(problem, status=error.status, content_type="application/problem+json")
    response.headers.append(("Cache-Control", "no-store"))
    response.headers.extend(error.headers)
    return response


def failure_response(request: Request, error: BaseException) -> Response:
    """The 500 for an unexpected exception: logged here, with the id that the client sees."""
    error_id = log_error(request, error)
    app = request.app
    trace = format_traceback(error) if app is not None and app.development else ""
    return error_response(request, HTTPError(500), error_id=error_id, traceback=trace)
