"""Records of Python's logging as lines with `<N>` in front, for the supervisor and the journal (sd-daemon(3))."""

from __future__ import annotations

import logging

__all__ = ["Prefixed"]

_NUMBERS = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


class Prefixed(logging.Formatter):
    """Every line of a record, so also each of a traceback, says how urgent it is."""

    def __init__(self) -> None:
        super().__init__("%(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        number = next((number for level, number in _NUMBERS if record.levelno >= level), 7)
        return "\n".join(f"<{number}>{line}" for line in super().format(record).splitlines() or [""])
