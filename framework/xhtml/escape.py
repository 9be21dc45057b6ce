"""Escaping by context: text, attribute, URL, script and style data, comment, and what XML cannot say at all.

Every function takes text that nobody trusts and returns text that can stand in its context, in XHTML and in HTML. The
policy for characters that XML 1.0 §2.2 or HTML §13.2.3.5 forbids (control characters, lone surrogates, noncharacters):
each becomes U+FFFD, the replacement character. Line ends become "\\n", as both parsers would make them. No tree here.
"""

from __future__ import annotations

import re
from typing import Any

import markupsafe

REPLACEMENT = "\ufffd"

# PERF: the C function under markupsafe.escape costs 45 ns for a short text, the public wrapper 500 ns (bench/xhtml.py).
escape_text = getattr(markupsafe, "_escape_inner", None) or (lambda text: str(markupsafe.escape(text)))

_NONCHARACTERS = "\ufdd0-\ufdef" + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
_FORBIDDEN = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff{_NONCHARACTERS}]")
_SUSPECT_BYTES = bytes([*range(0x09), 0x0B, 0x0C, *range(0x0D, 0x20), 0x7F])
_C1_CONTROL = re.compile(b"\xc2[\x80-\x9f]")
_LINE_END = re.compile("\r\n?")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.ASCII)
_IGNORED_IN_URL = re.compile("[\t\n\r]")
_LEADING_IN_URL = "".join(map(chr, range(0x21)))
_IMAGE_DATA = re.compile(r"data:image/(?:png|jpeg|gif|webp|avif|x-icon|svg\+xml)[;,]")

REFUSED_SCHEMES = frozenset(["javascript", "vbscript", "livescript", "data"])
REFUSED_URL = "about:invalid#refused"
"""What is written in place of a URL that would run a script."""


class Trusted(str):
    """Text that the programmer wrote and vouches for: a script URL, an `on…` handler, an iframe's `srcdoc`.

    It is still escaped for the attribute that it stands in. Never wrap what came from a user.

    >>> page.body.add("a", "back", href=Trusted("javascript:history.back()"))
    """

    __slots__ = ()


def clean(text: str) -> str:
    """Text with each character that XML or HTML forbids replaced by U+FFFD, and line ends as "\\n"."""
    if "\r" in text:
        text = _LINE_END.sub("\n", text)
    return _FORBIDDEN.sub(REPLACEMENT, text)


def cleaned(text: str) -> str:
    """What `clean` returns; nearly free where there is nothing to clean."""
    data = _unsuspicious(text)
    return clean(text) if data is None else text


def encode(text: str) -> bytes:
    """The UTF-8 bytes of a serialised tree, cleaned as `clean` does; nearly free where there is nothing to clean."""
    data = _unsuspicious(text)
    return clean(text).encode() if data is None else data


def _unsuspicious(text: str) -> bytes | None:
    """The UTF-8 bytes, or None where `clean` may find something."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return None
    # PERF: one translate over the bytes of a 30 kB page costs 20 µs, a regular expression over its text 150 µs.
    if len(data.translate(None, _SUSPECT_BYTES)) != len(data):
        return None
    if len(data) != len(text):
        # Noncharacters end in BF BE or BF BF, or begin with EF B7.
        if b"\xbf\xbe" in data or b"\xbf\xbf" in data or b"\xef\xb7" in data:
            return None
        if b"\xc2" in data and _C1_CONTROL.search(data):
            return None
    return data


def attribute(value: str) -> str:
    """Text for a quoted attribute; line breaks and tabs survive, as character references, where XML would make them
    spaces.
    """
    value = escape_text(value)
    if value.isprintable():
        return value
    return clean(value).replace("\n", "&#10;").replace("\t", "&#9;")


def url(value: str, *, image: bool = False) -> str:
    """The URL itself, or `REFUSED_URL` where following it would run a script.

    image: True where the URL is that of an image, which may be `data:image/…`.
    A browser drops leading spaces and control characters, and tabs and line breaks anywhere, before it reads the scheme
    (URL standard §4.4); so does this check.
    """
    if ":" not in value:
        return value
    seen = _IGNORED_IN_URL.sub("", value.lstrip(_LEADING_IN_URL)).lower()
    scheme = _SCHEME.match(seen)
    if scheme is None or scheme[1] not in REFUSED_SCHEMES or isinstance(value, Trusted):
        return value
    if image and _IMAGE_DATA.match(seen):
        return value
    return REFUSED_URL


def comment(text: str) -> str:
    """Text for a comment: it cannot end the comment, and nothing in it can open an element (HTML §13.1.6, XML §2.5)."""
    text = escape_text(text).replace("--", "- -").replace("--", "- -")
    return f" {text.strip()} "


def script(text: str) -> str:
    """Script that the programmer wrote, as the content of <script>: in a CDATA section hidden in comments where it
    needs one.

    Raises ValueError for what would end the element or the section early. For *data* use `json_data`.
    """
    low = text.lower()
    for mark in ("</script", "<script", "<!--", "]]>"):
        if mark in low:
            raise ValueError(
                f"a script cannot hold {mark!r}; write it in two parts ('<' + '/script'), or pass data with add_data()"
            )
    if "<" in text or "&" in text:
        return f"//<![CDATA[\n{text}\n//]]>"
    return text


def style(text: str) -> str:
    """Style rules that the programmer wrote, as the content of <style>; ValueError as in `script`."""
    low = text.lower()
    for mark in ("</style", "]]>", "<!--"):
        if mark in low:
            raise ValueError(f"style rules cannot hold {mark!r}")
    if "<" in text or "&" in text:
        return f"/*<![CDATA[*/\n{text}\n/*]]>*/"
    return text


def json_data(value: Any) -> str:
    """Any JSON-able value as the content of `<script type="application/json">`: no character in it is special there."""
    import json

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character, escaped in _JSON_ESCAPES:
        text = text.replace(character, escaped)
    return _FORBIDDEN.sub(lambda found: json.dumps(found[0])[1:-1], text)


_JSON_ESCAPES = (
    ("&", "\\u0026"),
    ("<", "\\u003c"),
    (">", "\\u003e"),
    ("\u2028", "\\u2028"),
    ("\u2029", "\\u2029"),
)
