"""The shorthand `/user/<int:id>/` beside regexes: translated to a regex and a converter for each parameter.

A pattern without regex operators that holds a placeholder is shorthand throughout: its text is literal and it must
match the whole path. In a pattern that does hold regex operators only `<converter:name>` is a placeholder, and the rest
stays the regex it is. No matching happens here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

from fastcore.values import dataclass, field

_PLACEHOLDER = re.compile(r"(?<!\(\?P)<(?:(?P<converter>[A-Za-z_]\w*):)?(?P<name>[A-Za-z_]\w*)>")
_OPERATORS = re.compile(r"[\\^$*+?{}\[\]|()]")


@dataclass(frozen=True, slots=True)
class Converter:
    """How one kind of parameter is written in a path.

    `regex` is what its text must match (without named groups); `to_value` makes the value of the text (ValueError: the
    text is none); `to_text` the text of a value.
    Example: ``Converter("[0-9a-f]+", lambda text: int(text, 16), "{:x}".format)``.
    """

    regex: str
    to_value: Callable[[str], Any] = str
    to_text: Callable[[Any], str] = str


def _uuid(text: str) -> Any:
    from uuid import UUID  # takes a third of a megabyte, and few tables have one

    return UUID(text)


def _date(text: str) -> Any:
    from datetime import date  # as uuid

    return date.fromisoformat(text)


CONVERTERS: Mapping[str, Converter] = {
    "int": Converter("[0-9]+", int, lambda value: f"{operator.index(value):d}"),
    "str": Converter("[^/]+"),
    "path": Converter(".+"),
    "uuid": Converter("[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}", _uuid),
    "date": Converter("[0-9]{4}-[0-9]{2}-[0-9]{2}", _date),
    "slug": Converter("[-a-zA-Z0-9_]+"),
}


@dataclass(frozen=True, slots=True)
class Translation:
    """`regex` is what the pattern means; `converters` has one for each placeholder, by parameter name.

    `named` has each placeholder's name with its offset in the pattern. `pieces` tells what came from where:
    (offset in the regex, offset in the pattern, whether it stands as written).
    """

    regex: str
    converters: Mapping[str, Converter] = field(default_factory=dict)
    pieces: tuple[tuple[int, int, bool], ...] = ()
    named: Mapping[str, int] = field(default_factory=dict)

    def place_in_pattern(self, position: int | None) -> int | None:
        """Where in the pattern that lies which is at this offset of the regex."""
        if position is None or not self.pieces:
            return position
        start, written, as_it_is = max(piece for piece in self.pieces if piece[0] <= position)
        return written + position - start if as_it_is else written


class ShorthandError(ValueError):
    """A placeholder that cannot be translated; `position` is its offset in the pattern."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.position = position


def translate(pattern: str, converters: Mapping[str, Converter] = CONVERTERS) -> Translation:
    r"""What a pattern means as a regex; one without placeholders means itself.

    Raises ShorthandError for an unknown converter or a parameter named twice.
    Example: ``translate("/user/<int:id>/").regex == r"/user/(?P<id>[0-9]+)/\Z"``.
    """
    if "<" not in pattern:
        return Translation(pattern)
    placeholders = list(_PLACEHOLDER.finditer(pattern))
    literal = bool(placeholders) and not _OPERATORS.search(_PLACEHOLDER.sub("", pattern))
    if not literal:
        placeholders = [found for found in placeholders if found["converter"]]
    if not placeholders:
        return Translation(pattern)
    used: dict[str, Converter] = {}
    parts: list[str] = []
    pieces: list[tuple[int, int, bool]] = []
    end = length = 0
    for found in placeholders:
        between = pattern[end : found.start()]
        pieces.append((length, end, not literal))
        parts.append(re.escape(between) if literal else between)
        pieces.append((length + len(parts[-1]), found.start(), False))
        name = found["name"]
        if name in used:
            raise ShorthandError(f"the parameter {name!r} is named twice", found.start("name"))
        used[name] = _find_converter(found, converters)
        parts.append(f"(?P<{name}>{used[name].regex})")
        end, length = found.end(), sum(map(len, parts))
    tail = pattern[end:]
    pieces.append((length, end, not literal))
    parts.append(re.escape(tail) + r"\Z" if literal else tail)
    return Translation(
        "".join(parts), used, tuple(pieces), {found["name"]: found.start("name") for found in placeholders}
    )


def _find_converter(found: re.Match[str], converters: Mapping[str, Converter]) -> Converter:
    kind = found["converter"] or "str"
    try:
        return converters[kind]
    except KeyError:
        known = ", ".join(sorted(converters))
        raise ShorthandError(f"there is no converter {kind!r}; there are {known}", found.start("converter")) from None
