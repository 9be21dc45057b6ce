"""Text of others made harmless for terminals and logs. Alone, since a back end's keeper needs no more of the log."""

from __future__ import annotations

__all__ = ["printable"]

_DIRECTIONS = (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {
    number: chr(number).encode("unicode_escape").decode()
    for number in (*range(0x09), *range(0x0A, 0x20), *range(0x7F, 0xA0), *_DIRECTIONS)
}


def printable(text: str) -> str:
    """The text with control and direction characters shown as escapes; a tab stays.

    >>> printable("red \\x1b[31m")
    'red \\\\x1b[31m'
    """
    return text.translate(_ESCAPES)
