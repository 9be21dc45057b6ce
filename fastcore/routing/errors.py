"""The exceptions of the router. Registration raises PatternError; `url` raises ReverseError; `match` raises none.

Every message names the route by its position in the table (counted from 0, as Python's lists are) and its pattern.
"""

from __future__ import annotations

from fastcore.errors import FastCGIError


class RoutingError(FastCGIError):
    """Base of all errors of `fastcore.routing`."""


class PatternError(RoutingError, ValueError):
    """A table that cannot be served: a bad pattern, a name used twice, an entry of the wrong shape.

    `index` is the entry's position in the table, `pattern` its pattern as written, `position` the offending
    character's offset in it, where known. The message shows the pattern with a caret under that character.
    """

    def __init__(self, reason: str, *, index: int, pattern: object, position: int | None = None) -> None:
        self.reason, self.index, self.pattern, self.position = reason, index, pattern, position
        super().__init__(f"route {index}: {reason}{show_caret(pattern, position)}")


class ReverseError(RoutingError, LookupError):
    """`Router.url` cannot answer; the message says why, for each route it considered."""


class UnknownTargetError(ReverseError):
    """No route of the table has this target or name."""


class ParameterError(ReverseError):
    """Parameters are missing or surplus, or a value does not match its group."""


class AmbiguousPatternError(ReverseError):
    """The pattern matches several paths for these parameters and none of them is *the* one."""


class ShadowedError(ReverseError):
    """The path would be right, but an earlier route of the table takes it."""


def show_caret(pattern: object, position: int | None) -> str:
    """The pattern on a line of its own with a caret under `position`; control characters are escaped."""
    if not isinstance(pattern, str):
        return f": {pattern!r}"
    if position is None:
        return f"\n    {escape_controls(pattern)}"
    line_start = pattern.rfind("\n", 0, position) + 1
    line_end = pattern.find("\n", position)
    line = pattern[line_start : line_end if line_end >= 0 else None]
    indent = len(escape_controls(line[: position - line_start]))
    return f"\n    {escape_controls(line)}\n    {' ' * indent}^"


def escape_controls(text: str) -> str:
    """`text` as one printable line: everything that would break a log line is shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
