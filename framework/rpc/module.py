"""The ES module that a Proxy serves: client.js, and the functions of that URL as its default export."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framework.rpc.binding import RemoteFunction
    from framework.rpc.limits import CallLimits


def make_module(functions: Mapping[str, RemoteFunction], limits: CallLimits) -> tuple[bytes, str]:
    """The module's text, and its version: a hash of all that callers could notice a change of."""
    from hashlib import blake2b

    from orjson import dumps

    source = read_client()
    safe = [name for name, function in functions.items() if function.safe]
    signatures = "\n".join(function.describe() for function in functions.values())
    version = blake2b(f"{source}\n{signatures}\n{safe}\n{limits.batch}".encode(), digest_size=12).hexdigest()
    target = dumps({"version": version, "safe": safe, "batch": limits.batch}).decode()
    names = dumps(list(functions)).decode()
    url = "new URL(import.meta.url.split(/[?#]/)[0]).href"
    return f"{source}export default bind({{ url: {url}, ...{target} }}, {names});\n".encode(), version


_TARGET = b"export default bind({ "


def with_token(module: bytes, token: str) -> bytes:
    """The module for a page whose calls have to carry this token."""
    from orjson import dumps

    before, found, after = module.rpartition(_TARGET)
    return before + found + b"token: " + dumps(token) + b", " + after


@cache
def make_calls() -> tuple[bytes, str]:
    """The module that binds a page's buttons and forms, and its version."""
    from hashlib import blake2b

    data = read_client("calls.js").encode()
    return data, blake2b(data, digest_size=12).hexdigest()


def read_client(name: str = "client.js") -> str:
    """A module without its comments and indentation, which nobody needs to load."""
    from importlib.resources import files

    text = (files("framework.rpc") / name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith(("//", "/**", "*")))
