"""The exceptions of the router. Registration raises PatternError; `url` raises ReverseError; `match` raises none.

Every message names the route by its position in the table (counted from 0, as Python's lists are) and its pattern.
"""

from __future__ import annotations

from fastcore.errors import FastCGIError

MAX_SHOWN = 160
"""Characters of a pattern that a message shows."""


class RoutingError(FastCGIError):
    """Base of all errors of `fastcore.routing`."""


class PatternError(RoutingError, ValueError):
    """A table that cannot be served: a bad pattern, a name used twice, an entry of the wrong shape.

    `index` is the entry's position in the table, `pattern` its pattern as written, `position` the offending
    character's offset in it, where known. The message shows the pattern with a caret under that character; where the
    route's `name` is at fault, the name is shown after it with a caret below.
    """

    def __init__(
        self, reason: str, *, index: int, pattern: object, position: int | None = None, name: object = None
    ) -> None:
        self.reason, self.index, self.pattern, self.position = reason, index, pattern, position
        shown = show_caret(pattern, position) if name is None else _show_name(pattern, name)
        super().__init__(f"route {index}: {reason}{shown}")


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
    """The pattern on a line of its own with a caret under `position`; control characters are escaped.

    Of a pattern of several lines the one is shown that has the position, of a long one what is near it.
    """
    if not isinstance(pattern, str):
        return f": {shorten(repr(pattern))}"
    if position is None:
        return f"\n    {shorten(escape_controls(pattern))}"
    start = max(pattern.rfind("\n", 0, position) + 1, position - MAX_SHOWN // 2)
    end = pattern.find("\n", position)
    end = min(end if end >= 0 else len(pattern), start + MAX_SHOWN)
    before = ("…" if start and pattern[start - 1] != "\n" else "") + escape_controls(pattern[start:position])
    after = escape_controls(pattern[position:end]) + ("…" if end < len(pattern) and pattern[end] != "\n" else "")
    return f"\n    {before}{after}\n    {' ' * len(before)}^"


def _show_name(pattern: object, name: object) -> str:
    before = shorten(escape_controls(pattern) if isinstance(pattern, str) else repr(pattern)) + "  "
    return f"\n    {before}{shorten(repr(name))}\n    {' ' * len(before)}^"


def shorten(text: str) -> str:
    """At most MAX_SHOWN characters of it."""
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def escape_controls(text: str) -> str:
    """`text` as one printable line: everything that would break a log line is shown as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
