"""Sets of characters, as the single-character items of a pattern mean them: `a`, `[^/]`, `\\w`, `.`, with any flags.

Python itself is the judge of what is in a set: an item is compiled alone, by Python's compiler, and asked. So case
folding, categories and future Unicode versions are right by construction. The 128 ASCII characters are asked once,
others when met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from re import _compiler, _parser  # type: ignore[attr-defined]
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

ASCII = "".join(map(chr, range(128)))
ALL_ASCII = (1 << 128) - 1
MAX_CODEPOINT = 0x10FFFF

_RELEVANT_FLAGS = int(re.IGNORECASE | re.DOTALL | re.ASCII | re.UNICODE)
_NEGATED_CATEGORIES = frozenset({op.CATEGORY_NOT_DIGIT, op.CATEGORY_NOT_SPACE, op.CATEGORY_NOT_WORD})


class CharSet:
    """A set of characters.

    `ascii` has bit *c* set for each ASCII character *c* in it; `wide` is True where all other characters are in it,
    False where none is, None where some are. `source` is a picture for people, such as `[0-9]`.
    """

    __slots__ = ("_pattern", "_ranges", "_runs", "ascii", "source", "wide")

    def __init__(
        self,
        pattern: re.Pattern[str],
        runs: Callable[[], re.Pattern[str]],
        ascii_bits: int,
        wide: bool | None,
        source: str,
    ) -> None:
        self._pattern, self._runs = pattern, runs
        self._ranges: list[tuple[int, int]] | None = None if wide is None else [(128, MAX_CODEPOINT)] if wide else []
        self.ascii, self.wide, self.source = ascii_bits, wide, source

    def __contains__(self, codepoint: int) -> bool:
        if codepoint < 128:
            return bool(self.ascii >> codepoint & 1)
        if self.wide is not None:
            return self.wide
        return self._pattern.match(chr(codepoint)) is not None

    def ranges(self) -> list[tuple[int, int]]:
        """The characters beyond ASCII that are in it, as inclusive ranges. Asks about all of them: milliseconds."""
        if self._ranges is None:
            everything = "".join(map(chr, range(128, MAX_CODEPOINT + 1)))
            spans = [found.span() for found in self._runs().finditer(everything)]
            self._ranges = [(start + 128, end + 127) for start, end in spans]
        return self._ranges

    def __repr__(self) -> str:
        return f"<characters {self.source}>"


def charset(operator: Any, argument: Any, flags: int) -> CharSet:
    """The set that one item of a parse tree means under these flags (LITERAL, NOT_LITERAL, ANY, IN, CATEGORY)."""
    if operator is op.CATEGORY:
        operator, argument = op.IN, ((operator, argument),)
    return _charset(operator, tuple(argument) if operator is op.IN else argument, flags & _RELEVANT_FLAGS)


@lru_cache(maxsize=4096)
def _charset(operator: Any, argument: Any, flags: int) -> CharSet:
    state = _parser.State()
    state.flags, state.str = flags, ""
    single = _parser.SubPattern(state, [(operator, list(argument) if operator is op.IN else argument)])
    pattern: re.Pattern[str] = _compiler.compile(single, flags)

    def compile_runs() -> re.Pattern[str]:
        repeat = (op.MAX_REPEAT, (1, op.MAXREPEAT, single))
        runs: re.Pattern[str] = _compiler.compile(_parser.SubPattern(state, [repeat]), flags)
        return runs

    bits = 0
    if operator is op.LITERAL and not flags & re.IGNORECASE:
        bits = 1 << argument if argument < 128 else 0
    else:
        for char in pattern.findall(ASCII):
            bits |= 1 << ord(char)
    return CharSet(pattern, compile_runs, bits, _judge_wide(operator, argument, flags), describe(operator, argument))


def word_set(flags: int) -> CharSet:
    r"""The characters of `\w`, which `\b` is about."""
    return charset(op.CATEGORY, op.CATEGORY_WORD, flags)


def newline_set() -> CharSet:
    r"""The set of `\n` alone, which `$` is about."""
    return charset(op.LITERAL, 10, 0)


def _judge_wide(operator: Any, argument: Any, flags: int) -> bool | None:
    if operator is op.ANY:
        return True
    if operator is op.LITERAL or operator is op.NOT_LITERAL:
        inside = _judge_codepoints((argument,), flags)
        return inside if operator is op.LITERAL or inside is None else not inside
    negated = argument[0][0] is op.NEGATE
    verdicts = [_judge_member(kind, value, flags) for kind, value in argument[1 if negated else 0 :]]
    if True in verdicts:
        return not negated
    return None if None in verdicts else negated


def _judge_member(operator: Any, argument: Any, flags: int) -> bool | None:
    if operator is op.CATEGORY:
        return argument in _NEGATED_CATEGORIES if flags & re.ASCII else None
    return _judge_codepoints((argument,) if operator is op.LITERAL else argument, flags)


def _judge_codepoints(codepoints: Iterable[int], flags: int) -> bool | None:
    """False: these are ASCII and so are their other cases. None: some are not, or may have another case that is not."""
    first, last = min(codepoints), max(codepoints)
    folds = flags & re.IGNORECASE and not flags & re.ASCII and last >= 65
    return None if last >= 128 or (folds and not 91 <= first <= last <= 96) else False


def describe(operator: Any, argument: Any) -> str:
    r"""One item as a regex writes it: `a`, `[^/]`, `\d`, `.`"""
    if operator is op.ANY:
        return "."
    if operator is op.LITERAL:
        return re.escape(chr(argument)) if chr(argument) not in "/" else "/"
    if operator is op.NOT_LITERAL:
        return f"[^{describe_member(op.LITERAL, argument)}]"
    members = [describe_member(*member) for member in argument]
    if len(argument) == 1 and argument[0][0] is op.CATEGORY:
        return members[0]
    return f"[{''.join(members)}]"


_CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d",
    op.CATEGORY_NOT_DIGIT: r"\D",
    op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S",
    op.CATEGORY_WORD: r"\w",
    op.CATEGORY_NOT_WORD: r"\W",
}


def describe_member(operator: Any, argument: Any) -> str:
    if operator is op.NEGATE:
        return "^"
    if operator is op.CATEGORY:
        return _CATEGORIES[argument]
    if operator is op.RANGE:
        return "-".join(describe_member(op.LITERAL, end) for end in argument)
    char = chr(argument)
    if not char.isprintable():
        return char.encode("unicode_escape").decode("ascii")
    return "\\" + char if char in "\\]^-" else char
