"""What a server may make the client keep. Every value is bytes or a count; none may be left out."""

from __future__ import annotations

from dataclasses import dataclass, fields

__all__ = ["DEFAULT_CLIENT_LIMITS", "ClientLimits"]


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Limits on one answer. One over a limit ends the request with `ProtocolError`.

    Example: ``Client("unix:/run/app.sock", limits=ClientLimits(body=8 * 1024 * 1024))``.
    """

    head: int = 65536
    """Bytes of the answer's head (status and header lines)."""
    header_count: int = 256
    """Header lines of one answer."""
    errors: int = 65536
    """Bytes kept of one request's STDERR; what is longer is read and dropped, up to `overhead`."""
    overhead: int = 4 * 1024 * 1024
    """Bytes of one request that bring no body: STDERR, empty and unknown records, records of other requests."""
    body: int = 1024 * 1024 * 1024
    """Bytes of a body that ``request()`` collects in memory. A streamed body is the caller's to bound."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or value <= 0:
                raise ValueError(f"ClientLimits.{field.name} must be a positive int, not {value!r}")


DEFAULT_CLIENT_LIMITS = ClientLimits()
