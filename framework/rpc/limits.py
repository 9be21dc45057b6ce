"""What one Proxy accepts of its callers."""

from __future__ import annotations

KIB = 1024

MAX_ANSWER_BYTES = 64 * 1024 * KIB
"""Of one answer, and of one item of a stream, that a client takes."""


class CallLimits:
    """Limits of a `Proxy`, all positive integers.

    Args:
        body_bytes: bytes of one POST; over it the answer is 413.
        batch: calls of one batch; over it none of them is made.
        depth: how deep lists and objects may be nested in one POST.

    Example: ``Proxy([upload], limits=CallLimits(body_bytes=8 * 1024 * KIB))``.
    """

    __slots__ = ("batch", "body_bytes", "depth")

    def __init__(self, *, body_bytes: int = 1024 * KIB, batch: int = 50, depth: int = 32) -> None:
        self.body_bytes = body_bytes
        self.batch = batch
        self.depth = depth
        for name in self.__slots__:
            value = getattr(self, name)
            if type(value) is not int or value <= 0:
                raise ValueError(f"CallLimits.{name} must be a positive int, not {value!r}")


DEFAULT_CALL_LIMITS = CallLimits()
