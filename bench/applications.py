"""The application that every server in the benchmarks runs: one constant page, by each interface."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PAGE = b"Hello, world!\n"
HEADERS = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(PAGE)))]


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """By WSGI (PEP 3333)."""
    start_response("200 OK", HEADERS)
    return [PAGE]


async def asynchronous(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """By fastcore's native interface, as a coroutine."""
    return 200, HEADERS, PAGE


def native(request: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    """By fastcore's native interface."""
    return 200, HEADERS, PAGE
