"""The ES module that a Proxy serves: client.js, and the functions of that URL as its default export.

It has names of its own, as files beside the Proxy: proxy.VERSION.mjs, which is kept for ever, proxy.mjs and proxy.d.ts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from framework.rpc.binding import RemoteFunction
    from framework.rpc.limits import CallLimits

DECLARATIONS = "proxy.d.ts"
_HERE = "new URL(import.meta.url.split(/[?#]/)[0]).href"
_FILE = re.compile(r"proxy(?:\.([0-9a-f]{24}))?\.mjs")
_QUERY = re.compile(r"([0-9a-f]{24})\.mjs")


def is_file(name: str) -> bool:
    """Whether a Proxy has a file of that name beside it, whatever its version."""
    return name == DECLARATIONS or _FILE.fullmatch(name) is not None


def version_asked_for(name: str) -> str:
    """The version in a file's name or in a query; "" where there is none."""
    found = _FILE.fullmatch(name) or _QUERY.fullmatch(name)
    return (found[1] if found else None) or ""


class Module:
    """The module of one Proxy. `version` is a hash of all that callers could notice a change of."""

    __slots__ = ("_names", "_source", "_target", "_usual", "version")

    def __init__(self, functions: Mapping[str, RemoteFunction], limits: CallLimits) -> None:
        self._source = read_client()
        safe = [name for name, function in functions.items() if function.safe]
        signatures = "\n".join(function.describe() for function in functions.values())
        text = f"{self._source}\n{signatures}\n{safe}\n{limits.batch}"
        self.version = _version_of(text.encode())
        self._target: dict[str, Any] = {"version": self.version, "safe": safe, "batch": limits.batch}
        self._names = list(functions)
        self._usual = b""  # made when it is asked for: a page that only names the module needs no orjson

    def text(self, home: str = "", *, asked: str = "", token: str = "") -> bytes:
        """What is served.

        Args:
            home: the address of the functions as seen from the module's; "": it is the same.
            asked: the version that a page asks for. Where that is another one, the page is of another version of the
                application, and may call what is not known here: any name is passed on, and what does not fit is told
                as outdated by the server's answer.
            token: what each call carries.
        """
        if asked == self.version:
            asked = ""
        if home or asked or token:
            return self._text(home, asked, token)
        if not self._usual:
            self._usual = self._text("", "", "")
        return self._usual

    def _text(self, home: str, asked: str, token: str) -> bytes:
        from orjson import dumps

        target = {**({"token": token} if token else {}), **self._target, **({"version": asked} if asked else {})}
        url = f"new URL({dumps(home).decode()}, import.meta.url).href" if home else _HERE
        known = f"{{ url: {url}, ...{dumps(target).decode()} }}"
        made = f'open({known}, "")' if asked else f"bind({known}, {dumps(self._names).decode()})"
        return f"{self._source}export default {made};\n".encode()


@cache
def make_calls() -> tuple[bytes, str]:
    """The module that binds a page's buttons and forms, and its version."""
    data = read_client("calls.js").encode()
    return data, _version_of(data)


def _version_of(data: bytes) -> str:
    """24 hexadecimal digits that are others for other data."""
    try:
        from _blake2 import blake2b  # hashlib's own, without OpenSSL's library: 2 MB of each back end
    except ImportError:  # an interpreter that was built without it
        from hashlib import blake2b
    return blake2b(data, digest_size=12).hexdigest()


def read_client(name: str = "client.js") -> str:
    """A module without its comments and indentation, which nobody needs to load."""
    # Not by importlib.resources, which imports zipfile, tempfile and what these need: 2 MB of each back end.
    with open(os.path.join(os.path.dirname(__file__), name), encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    return "".join(f"{line}\n" for line in lines if line and not line.startswith(("//", "/**", "*")))
