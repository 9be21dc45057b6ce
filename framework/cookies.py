"""Cookies both ways (RFC 6265bis): the Cookie header read leniently, Set-Cookie written strictly.

A cookie that another application or an old version left behind must not lock its user out, so what is not understood is
skipped. Only what no browser sends is refused: control characters, or more cookies than the limit.
"""

from __future__ import annotations

import re

from framework.errors import BadRequest
from framework.headers import http_date, is_token

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PLAIN_VALUE = re.compile(r"[!#$&'()*+\-./0-9:<=>?@A-Z\[\]^_`a-z{|}~]*")  # cookie-octet without "%"
_DOMAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_PATH = re.compile(r"/[!-:<-~]*")
_SAME_SITE = ("Strict", "Lax", "None")
MAX_COOKIE_BYTES = 4096
"""Bytes of name and value of one cookie; browsers throw longer ones away."""


def parse_cookies(header: str, limit: int) -> dict[str, str]:
    """Cookies by name; of two with one name the first, which is the one with the longest path.

    Values are percent-decoded as UTF-8, as `set_cookie` writes them. Raises BadRequest for control characters and for
    more than `limit` cookies. Example: ``parse_cookies("a=1; b=%C3%A4", 10) == {"a": "1", "b": "ä"}``.
    """
    if not header:
        return {}
    if _CONTROL.search(header):
        raise BadRequest("The cookies have control characters.")
    parts = header.split(";", limit + 1)
    if len(parts) > limit:
        raise BadRequest(f"There are more than {limit} cookies.")
    cookies: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip()
        if not equals or not is_token(name) or name in cookies:
            continue
        cookies[name] = _decode_value(value.strip())
    return cookies


def _decode_value(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if not value.isascii():
        value = value.encode("latin-1", "replace").decode("utf-8", "replace")
    if "%" in value:
        from urllib.parse import unquote

        return unquote(value, errors="replace")
    return value


class Cookie:
    """One cookie to be set. `path` None is the back end's own prefix: other back ends of the host do not get it.

    Args:
        max_age: seconds from now; None for "until the browser is closed".
        secure: only over HTTPS (browsers make an exception for localhost).
        http_only: not readable by scripts.
        same_site: "Lax", "Strict", or "None", which needs `secure`.

    Raises ValueError for what a browser would not take.
    """

    __slots__ = ("_attributes", "_pair", "path")

    def __init__(
        self,
        name: str,
        value: str = "",
        *,
        max_age: int | None = None,
        path: str | None = None,
        domain: str | None = None,
        secure: bool = True,
        http_only: bool = True,
        same_site: str = "Lax",
    ) -> None:
        if not is_token(name):
            raise ValueError(f"cookie name {name!r} is not a token (RFC 9110 section 5.6.2)")
        same_site = same_site.title()
        if same_site not in _SAME_SITE:
            raise ValueError(f"same_site of cookie {name!r} is one of {', '.join(_SAME_SITE)}, not {same_site!r}")
        if same_site == "None" and not secure:
            raise ValueError(f"cookie {name!r}: same_site='None' needs secure=True, browsers refuse it otherwise")
        if path is not None and not _PATH.fullmatch(path):
            raise ValueError(f"path of cookie {name!r} must begin with '/' and have no ';' or space: {path!r}")
        if domain is not None and not _DOMAIN.fullmatch(domain):
            raise ValueError(f"domain of cookie {name!r} is not a host name: {domain!r}")
        if name.startswith("__Secure-") and not secure:
            raise ValueError(f"cookie {name!r} needs secure=True: its prefix says so")
        if name.startswith("__Host-"):
            if not secure or domain is not None or path not in (None, "/"):
                raise ValueError(f"cookie {name!r} needs secure=True, no domain and path '/': its prefix says so")
            path = "/"
        self.path = path
        self._pair = f"{name}={_encode_value(value)}"
        if len(self._pair) - 1 > MAX_COOKIE_BYTES:
            raise ValueError(f"cookie {name!r} is longer than the {MAX_COOKIE_BYTES} bytes that browsers keep")
        self._attributes = "".join(
            (
                f"; Domain={domain}" if domain else "",
                "" if max_age is None else f"; Max-Age={int(max_age)}",
                f"; Expires={http_date(0)}" if max_age is not None and max_age <= 0 else "",
                "; Secure" if secure else "",
                "; HttpOnly" if http_only else "",
                f"; SameSite={same_site}",
            )
        )

    def header(self, prefix: str = "") -> str:
        """The value of Set-Cookie in a back end mounted at `prefix`."""
        path = self.path
        if path is None:
            path = _encode_path(prefix) + "/"
        return f"{self._pair}; Path={path}{self._attributes}"


def _encode_value(value: str) -> str:
    if _PLAIN_VALUE.fullmatch(value):
        return value
    from urllib.parse import quote

    return quote(value, safe="!#$&'()*+-./:<=>?@[]^_`{|}~", errors="replace")


def _encode_path(path: str) -> str:
    if _PATH.fullmatch(path):
        return path
    from urllib.parse import quote

    return quote(path, safe="/")
