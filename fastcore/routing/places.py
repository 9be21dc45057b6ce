"""Where in the text of a pattern its groups stand, for messages: Python's parse tree does not tell.

Nothing here decides what a pattern means; a place that is not found is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _parser  # type: ignore[attr-defined]

_HUGE_NUMBER = re.compile(r"\{\d*,?\d*\}")


def parentheses(regex: str, flags: int = 0) -> Iterator[tuple[int, str]]:
    """The offset of each parenthesis that opens or closes a group, and which it is; `flags` are the pattern's."""
    place = 0
    while 0 <= place < len(regex):
        char = regex[place]
        if char == "\\":
            place += 1
        elif char == "[":
            place = _end_of_class(regex, place)
        elif char == "#" and flags & re.VERBOSE:
            place = _find_or_end(regex, "\n", place)
        elif regex.startswith("(?#", place):
            place = _find_or_end(regex, ")", place)
        elif char in "()":
            yield place, char
        place += 1


def _end_of_class(regex: str, place: int) -> int:
    place += 2 if regex.startswith("^", place + 1) else 1
    place += 1 if regex.startswith("]", place) else 0
    while place < len(regex) and regex[place] != "]":
        place += 2 if regex[place] == "\\" else 1
    return place


def _find_or_end(regex: str, char: str, place: int) -> int:
    found = regex.find(char, place)
    return found if found >= 0 else len(regex)


def find_group(regex: str, beginning: str, flags: int = 0) -> Iterator[tuple[int, int]]:
    """The content of each group that begins so, such as `(?P<id>`, as (start, end).

    Example: ``list(find_group("/(?P<id>[0-9]+)", "(?P<id>")) == [(8, 14)]``.
    """
    open_groups: list[int] = []
    for place, char in parentheses(regex, flags):
        if char == "(":
            open_groups.append(place)
        elif open_groups:
            start = open_groups.pop()
            if regex.startswith(beginning, start):
                yield start + len(beginning), place


def place_of_group(regex: str, name: str, flags: int = 0) -> int | None:
    """The offset of a named group's name."""
    beginning = f"(?P<{name}>"
    for start, _ in find_group(regex, beginning, flags):
        return start - len(name) - 1
    return None


def place_of_look_behind(regex: str, flags: int = 0) -> int | None:
    """The offset of the first look-behind whose width is not fixed."""
    found = [place for beginning in ("(?<=", "(?<!") for place in find_group(regex, beginning, flags)]
    for start, end in sorted(found):
        try:
            least, most = _parser.parse(regex[start:end], flags).getwidth()
        except (re.error, RecursionError, OverflowError):
            continue
        if least != most:
            return start - 4
    return None


def place_of_deepest(regex: str, flags: int = 0) -> int | None:
    """The offset of the parenthesis that is nested deepest."""
    depth = most = 0
    deepest = None
    for place, char in parentheses(regex, flags):
        depth += 1 if char == "(" else -1
        if depth > most:
            most, deepest = depth, place
    return deepest


def place_of_huge_repeat(regex: str) -> int | None:
    """The offset of the first counted repeat whose number is larger than Python's parser takes."""
    for found in _HUGE_NUMBER.finditer(regex):
        if any(int(number) >= int(_parser.MAXREPEAT) for number in re.findall(r"\d+", found[0])):
            return found.start()
    return None
