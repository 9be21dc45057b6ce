"""Both matchers against each other, and against `re` itself, on random tables and paths derived from them.

`python tests/twins/test_router_equal.py 200000 [SEED]` runs that many cases without hypothesis and prints what it met.
"""

from __future__ import annotations

import random
import re
import signal
import string
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from re import _constants as op
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcore import implementation
from fastcore.routing import Router

LETTERS = "aabbkKsS/--__1139é٣.ſ\n "
CLASSES = [
    r"\d",
    r"\w",
    r"\s",
    r"\W",
    r"\D",
    r"\S",
    ".",
    "[ab]",
    "[^/]",
    "[a-k]",
    "[0-9]",
    "[^a]",
    r"[-\w]",
    "[é-ž]",
    "[^\\n]",
]
ANCHORS = ["^", "$", "$", r"\A", r"\Z", r"\b", r"\B"]
SPECIALS = [
    "(?=a)",
    "(?!b)",
    "(?<=a)",
    "(?<!/)",
    "(?>a+)",
    "a*+",
    "(?P=g)",
    r"(?(g)a|b)",
    "(?i:ak)",
    "(?-i:s)",
    "(?a:\\w)",
    "(?s:.)",
]
QUANTIFIERS = ["?", "*", "+", "{2}", "{1,2}", "{0,2}", "{2,}", "??", "*?", "+?", "{1,3}?"]
ROUTE_PREFIXES = ["", "", "^", "^/", "^/a/", "/", "^/a-", r"\A/"]


class PatternWriter:
    """Writes one random pattern; named groups get names that are unique within it."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.names = rng, list("ghxyz")

    def pattern(self) -> str:
        body = self.rng.choice(ROUTE_PREFIXES) + self.sequence(self.rng.randint(1, 3))
        return body + self.rng.choice(["", "$", "$", r"\Z", "/$"])

    def sequence(self, depth: int) -> str:
        return "".join(self.item(depth) for _ in range(self.rng.randint(1, 4)))

    def quantified(self, group: str, content: str, quantifier: str) -> str:
        """Nested endless repeats are kept rare: `re` needs exponential time for them."""
        endless = quantifier[:1] in ("*", "+") or "," in quantifier
        if endless and any(mark in content for mark in "*+{") and self.rng.random() < 0.9:
            quantifier = ""
        return f"({group}{content}){quantifier}"

    def item(self, depth: int) -> str:
        kind = self.rng.randrange(100)
        if kind < 30:
            return re.escape(self.rng.choice(LETTERS))
        if kind < 50:
            return self.rng.choice(CLASSES) + self.rng.choice(["", "", "+", *QUANTIFIERS])
        if kind < 56:
            return self.rng.choice(ANCHORS)
        if kind < 59:
            return self.rng.choice(SPECIALS)
        if depth <= 0:
            return self.rng.choice("ab/1")
        if kind < 80 and self.names:
            name = f"?P<{self.names.pop(0)}>"
            return self.quantified(name, self.alternation(depth - 1), self.rng.choice(["", "", "", "?", *QUANTIFIERS]))
        return self.quantified(self.rng.choice(["", "?:"]), self.alternation(depth - 1), self.rng.choice(QUANTIFIERS))

    def alternation(self, depth: int) -> str:
        return "|".join(self.sequence(depth) for _ in range(self.rng.choice([1, 1, 1, 2, 2, 3])))


class TextWriter:
    """Writes a text that a pattern probably matches, from its parse tree."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def write(self, items: Any) -> str:
        return "".join(self.item(operator, argument) for operator, argument in items)

    def item(self, operator: Any, argument: Any) -> str:
        rng = self.rng
        if operator is op.LITERAL:
            char = chr(argument)
            return char.swapcase() if rng.random() < 0.1 else char
        if operator is op.SUBPATTERN:
            return self.write(argument[3])
        if operator in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            least, most, content = argument
            return "".join(self.write(content) for _ in range(min(int(most), least + rng.choice([0, 0, 1, 1, 2, 3]))))
        if operator is op.BRANCH:
            return self.write(rng.choice(argument[1]))
        if operator is op.ATOMIC_GROUP:
            return self.write(argument)
        if operator in (op.IN, op.ANY, op.NOT_LITERAL):
            return rng.choice(LETTERS + string.ascii_letters)
        return ""


def random_table(rng: random.Random) -> tuple[list[str], int]:
    flags = rng.choice([0, 0, 0, 0, re.IGNORECASE, re.MULTILINE, re.DOTALL, re.ASCII, re.I | re.A, re.I | re.M])
    patterns: list[str] = []
    for _ in range(rng.choice([1, 2, 3, 5, 8])):
        pattern = PatternWriter(rng).pattern()
        try:
            re.compile(pattern, flags)
        except re.error:
            continue
        patterns.append(pattern)
    return patterns, flags


def random_path(rng: random.Random, patterns: list[str], flags: int) -> str:
    text = ""
    if patterns:
        tree = re._parser.parse(rng.choice(patterns), flags)
        text = TextWriter(rng).write(tree)
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        place = rng.randint(0, len(text))
        change = rng.randrange(4)
        if change == 0:
            text = text[:place] + rng.choice(LETTERS) + text[place:]
        elif change == 1:
            text = text[:place] + text[place + 1 :]
        elif change == 2:
            text = text[:place] + rng.choice(LETTERS) + text[place + 1 :]
        else:
            text = text[:place] + rng.choice(["\n", "\udc80", "\0", "𝒜", text])
    return text[:24]


class TooSlow(Exception):
    """`re` needs exponential time for this case."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Raises TooSlow in what takes longer; `re` looks at signals while it backtracks."""

    def give_up(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Capped:
    """The compiled matcher with a cap on its states, so that the simulation beyond the cap is tried too."""

    def __init__(self, matcher: Any, max_states: int) -> None:
        self.matcher, self.max_states = matcher, max_states

    def Matcher(self, routes: Any) -> Any:
        return self.matcher.Matcher(routes, self.max_states)


def check_case(rng: random.Random, paths: int = 6, seconds: float = 0.3) -> tuple[int, int]:
    """One random table with some paths: both matchers must agree, winner and captures.

    Returns how many paths were compared (not those for which `re` takes too long), and how many of them matched.
    """
    pure, compiled = (implementation.twin(name).matcher for name in ("pure", "compiled"))
    patterns, flags = random_table(rng)
    table = [(pattern, index) for index, pattern in enumerate(patterns)]
    expected_by = Router(table, flags, matcher=pure)
    router = Router(table, flags, matcher=Capped(compiled, rng.choice([0, 0, 0, 1, 3, 10])))
    compared = matched = 0
    for _ in range(paths):
        path = random_path(rng, patterns, flags)
        try:
            with patience(seconds):
                expected = expected_by.match(path)
        except TooSlow:
            continue
        found = router.match(path)
        assert found == expected, f"{patterns!r}, {flags}, {path!r}: {found!r}, but re gives {expected!r}"
        compared += 1
        matched += expected is not None
    return compared, matched


warnings.filterwarnings("ignore", category=FutureWarning)


@pytest.mark.skipif(not implementation.accelerated, reason="FASTCORE_PURE is set: there is nothing to compare")
@settings(max_examples=300, deadline=None)
@given(st.randoms(use_true_random=False))
@pytest.mark.timeout(600)
def test_winner_and_captures_equal_re_on_random_tables(rng: random.Random) -> None:
    check_case(rng, seconds=0.1)


def main(cases: int, seed: int) -> None:
    done = matched = tables = 0
    while done < cases:
        rng = random.Random(seed + tables)
        count, hits = check_case(rng)
        done, matched, tables = done + count, matched + hits, tables + 1
    print(f"{done} cases on {tables} tables from seed {seed}: all equal; {matched} matched")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
