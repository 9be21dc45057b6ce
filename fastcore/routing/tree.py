"""Walking Python's own parse tree of a pattern. Nothing here knows what the walk is for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

SubPattern = Any  # re._parser.SubPattern: a sequence of (operator, argument), untyped in the standard library

REPEATS = frozenset({op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT})
SINGLE_CHARACTERS = frozenset({op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN})

_TYPES = re.ASCII | re.LOCALE | re.UNICODE


def walk(items: SubPattern, flags: int) -> Iterator[tuple[Any, Any, int]]:
    """Every item of a parse tree, outermost first, with the flags that hold where it stands."""
    for operator, argument in items:
        yield operator, argument, flags
        for content, inner in contents(operator, argument, flags):
            yield from walk(content, inner)


def contents(operator: Any, argument: Any, flags: int) -> Iterator[tuple[SubPattern, int]]:
    """The sub-patterns of one item, each with the flags that hold within."""
    if operator is op.SUBPATTERN:
        yield argument[3], combine_flags(flags, argument[1], argument[2])
    elif operator in REPEATS:
        yield argument[2], flags
    elif operator is op.BRANCH:
        for alternative in argument[1]:
            yield alternative, flags
    elif operator is op.ATOMIC_GROUP:
        yield argument, flags
    elif operator in (op.ASSERT, op.ASSERT_NOT):
        yield argument[1], flags
    elif operator is op.GROUPREF_EXISTS:
        for alternative in argument[1:]:
            if alternative is not None:
                yield alternative, flags


def combine_flags(flags: int, added: int, removed: int) -> int:
    """Flags within `(?i-s:...)`: those of the type of text (a, u) replace each other."""
    if added & _TYPES:
        flags &= ~_TYPES
    return (flags | added) & ~removed


def freeze(items: SubPattern, flags: int) -> tuple[Any, ...]:
    """A hashable picture of a part of a tree: equal pictures match the same texts (names and greed are left out)."""
    picture: list[Any] = []
    for operator, argument in items:
        if operator is op.SUBPATTERN:
            picture += freeze(argument[3], combine_flags(flags, argument[1], argument[2]))
        elif operator in REPEATS:
            picture.append((op.MAX_REPEAT, argument[0], int(argument[1]), freeze(argument[2], flags)))
        elif operator is op.BRANCH:
            picture.append((operator, tuple(freeze(alternative, flags) for alternative in argument[1])))
        elif operator is op.IN:
            picture.append((operator, tuple(argument), flags))
        else:
            picture.append((operator, argument, flags))
    return tuple(picture)
