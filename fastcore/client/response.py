"""The answer to one request, complete."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Response"]


@dataclass(slots=True)
class Response:
    """What ``Client.request`` returns.

    ``status`` is the HTTP status; ``headers`` are the header lines in their order, without ``Status``; ``errors`` is
    what the application wrote to STDERR; ``app_status`` its exit code (0: well); ``protocol_status`` is 0, or the
    reason why the server did not take the request (CANT_MPX_CONN 1, OVERLOADED 2: then ``status`` is 503;
    UNKNOWN_ROLE 3: then it is 501).
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    errors: bytes = b""
    app_status: int = 0
    protocol_status: int = 0

    def header(self, name: str, default: str | None = None) -> str | None:
        """The first header of that name, whatever its case. Example: ``response.header("content-type")``."""
        return find_header(self.headers, name, default)


def find_header(headers: list[tuple[str, str]], name: str, default: str | None = None) -> str | None:
    """The first value of `name` in `headers`, compared without case, or `default`."""
    wanted = name.lower()
    return next((value for key, value in headers if key.lower() == wanted), default)
