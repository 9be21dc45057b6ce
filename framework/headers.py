"""Header fields both ways: the request's, read by any case; the response's, checked before they are sent; HTTP dates.

Always holds: a name or value with a line break or another control character is refused, so no header can begin another.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def check_header(name: Any, value: Any) -> tuple[str, str]:
    """The pair, if it can be sent; else ValueError or TypeError that names the header.

    Example: ``check_header("X-Note", "a\\r\\nSet-Cookie: b=c")`` raises ValueError.
    """
    if not isinstance(name, str) or not isinstance(value, str):
        raise TypeError(f"a header is a pair of str, not ({name!r}, {value!r})")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"header name {name!r} is not a token (RFC 9110 section 5.6.2)")
    if _UNSENDABLE.search(value):
        raise ValueError(f"the value of header {name!r} has a control character or is not latin-1: {value!r}")
    return str(name), str(value)  # servers take no subclass of str


def is_token(text: str) -> bool:
    """Whether `text` may be a header's or cookie's name."""
    return _TOKEN.fullmatch(text) is not None


def http_date(seconds: float) -> str:
    """Seconds since 1970 as an HTTP date (RFC 9110 section 5.6.7).

    Example: ``http_date(0) == "Thu, 01 Jan 1970 00:00:00 GMT"``.
    """
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year:04d}"
        f" {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
    )


class DuplicateHeader(ValueError):
    """One header came more than once under names that CGI cannot tell apart."""


class Headers(Mapping[str, str]):
    """The request's header fields: ``headers["content-type"]``, in any case, values as text.

    CGI writes ``X-User`` and ``X_User`` as the same parameter HTTP_X_USER, so that one could pass for the other. Here a
    name has dashes: ``headers["X_User"]`` is never found, and where both came the parameter is there twice, which
    `from_params` refuses. A header is still what any client can write: who may be trusted comes from
    `request.remote_user`, which only the front end can set.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        """`fields` by lower-case name."""
        self._fields = fields

    @classmethod
    def from_params(cls, params: Iterable[tuple[str, str]]) -> Headers:
        """The headers among CGI parameters (HTTP_*, CONTENT_TYPE, CONTENT_LENGTH); raises DuplicateHeader."""
        fields: dict[str, str] = {}
        for name, value in params:
            if name.startswith("HTTP_"):
                key = name[5:].replace("_", "-").lower()
                if key == "content-type" or key == "content-length" or key == "proxy":
                    continue  # the front end's own CONTENT_* say it; HTTP_PROXY is an attack (CVE-2016-5385)
            elif name == "CONTENT_TYPE" or name == "CONTENT_LENGTH":
                if not value:
                    continue
                key = name.replace("_", "-").lower()
            else:
                continue
            if key in fields:
                raise DuplicateHeader(f"The header {key!r} came more than once.")
            fields[key] = value
        return cls(fields)

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __repr__(self) -> str:
        return f"Headers({', '.join(self._fields)})"
