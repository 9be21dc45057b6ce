"""Every limit of a server, named with its unit. What accumulates somewhere is bounded by a field here."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from fastcore.values import dataclass

KIB = 1024
MIB = 1024 * KIB
_MOST = 2**53  # no limit means anything over it, and sums of two fit 64 bits


MAY_BE_OFF = ("request_timeout", "slow_request_ms")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker accepts before it refuses. All values are positive integers up to 2**53, times are seconds but
    for `slow_request_ms`; that and `request_timeout` may be 0.

    Example: ``Limits(body=256 * MIB, idle_timeout=15)``.
    """

    params_bytes: int = 128 * KIB
    """Bytes of one request's PARAMS stream; over it the client gets 431."""
    params_count: int = 1000
    """Name-value pairs of one request; over it the client gets 431."""
    body: int = 64 * MIB
    """Bytes of one request's body, or of a filter's file; over it the client gets 413."""
    body_memory: int = 256 * KIB
    """Bytes of one body kept in memory; what is longer goes to an unnamed temporary file, or gets 507."""
    connections: int = 1000
    """Connections open in one worker; further ones wait in the listener's queue."""
    requests_per_connection: int = 100
    """Requests active at once on one connection (multiplexing); over it the client gets FCGI_OVERLOADED, or
    FCGI_CANT_MPX_CONN where the limit is 1."""
    output_buffer: int = 256 * KIB
    """Bytes of answers waiting for a slow reader before its application's iterator is left alone."""
    stderr_bytes: int = 64 * KIB
    """Bytes of error text waiting for one request; what is longer is cut."""
    header_timeout: int = 20
    """Seconds from a connection's opening, or a request's beginning, to the end of its PARAMS; then it is closed."""
    body_timeout: int = 60
    """Seconds without a byte of an unfinished body; then the client gets 408."""
    idle_timeout: int = 75
    """Seconds that a kept connection may wait for its next request; then it is closed."""
    write_timeout: int = 60
    """Seconds without a byte taken by a reader; then its connection is closed."""
    linger_timeout: int = 5
    """Seconds that input is still read and thrown away after an early answer, so that the answer is not lost."""
    request_timeout: int = 0
    """Seconds that one call into the application may take: the call itself, or one next() of its body; then it is
    ended by RequestTimeout, and the client gets 504; a call that goes on for four times as long ends its worker. 0 for
    no limit."""
    slow_request_ms: int = 0
    """Milliseconds after which the stack of one call into the application goes to the log, while it goes on. 0 for
    never."""

    def __post_init__(self) -> None:
        for name in LIMIT_NAMES:
            value = getattr(self, name)
            least = 0 if name in MAY_BE_OFF else 1
            if type(value) is not int or not least <= value <= _MOST:
                what = "a positive int" if least else "0 or a positive int"
                raise ValueError(f"Limits.{name} must be {what} up to 2**53, not {value!r}")


LIMIT_NAMES = tuple(Limits.__annotations__)
DEFAULT_LIMITS = Limits()
