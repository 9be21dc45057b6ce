r"""Running the automaton one character at a time: the readable definition of what the compiled matcher does.

A *thread* is a node together with what it still owes: `\b` or `$` passed a moment ago may have promised something
about the next character or the end, and a thread that breaks its promise dies. The state of a run is a set of
threads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from fastcore.routing import automaton as nfa
from fastcore.routing.automaton import Automaton
from fastcore.routing.charsets import word_set

OWES_END, OWES_LAST_NEWLINE, OWES_LINE_END, OWES_WORD, OWES_NO_WORD, OWES_ASCII_WORD, OWES_NO_ASCII_WORD, OWES_MORE = (
    1 << bit for bit in range(8)
)
OWES_BITS, OWES_MASK = 8, 255
NOT_AT_END = OWES_WORD | OWES_ASCII_WORD | OWES_MORE

NO_ROUTE = 1 << 30
NEWLINE = 10

_OWED_BY_END = {nfa.END: OWES_END, nfa.END_OR_NEWLINE: OWES_LAST_NEWLINE, nfa.LINE_END: OWES_LINE_END}

EMPTY_TEXT_HAS_NO_BOUNDARY = re.match(r"\B", "") is None
"""Up to Python 3.13 `\\B` does not match in an empty text."""

Threads = frozenset[int]


class State(NamedTuple):
    """Threads after some text, `won`: the lowest route matched already, `at_end`: the lowest if the text ends here.

    Both are NO_ROUTE where there is none. Threads that can only lead to routes after `won` are gone.
    """

    threads: Threads
    won: int
    at_end: int


class Simulation:
    """Steps through an automaton's states; it holds none."""

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        count = len(automaton)
        self.character_edges: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        self.free_edges: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        edges = iter(automaton.character_edges)
        for node, number, to in zip(edges, edges, edges, strict=True):
            self.character_edges[node].append((number, to))
        edges = iter(automaton.free_edges)
        for node, kind, to in zip(edges, edges, edges, strict=True):
            self.free_edges[node].append((kind, to))
        self.exit_of: list[int] = [NO_ROUTE] * count
        for route, node in enumerate(automaton.exits):
            if node >= 0:
                self.exit_of[node] = min(self.exit_of[node], route)
        self._word, self._ascii_word = word_set(re.UNICODE), word_set(re.ASCII)
        unicode_kinds = self._word, OWES_WORD, OWES_NO_WORD
        ascii_kinds = self._ascii_word, OWES_ASCII_WORD, OWES_NO_ASCII_WORD
        self._boundaries = {
            nfa.BOUNDARY: unicode_kinds,
            nfa.NO_BOUNDARY: unicode_kinds,
            nfa.ASCII_BOUNDARY: ascii_kinds,
            nfa.ASCII_NO_BOUNDARY: ascii_kinds,
        }

    def start(self) -> State:
        """The state before the first character."""
        return self._prune(self.follow([nfa.ROOT << OWES_BITS], None))

    def step(self, state: State, codepoint: int) -> State:
        """The state after one more character."""
        return self._prune(self.follow(self.advance(state.threads, codepoint), codepoint))

    def advance(self, threads: Iterable[int], codepoint: int) -> list[int]:
        """Where these threads are after a character, before they follow free edges."""
        charsets = self.automaton.charsets
        after: list[int] = []
        for thread in threads:
            node, owed = thread >> OWES_BITS, thread & OWES_MASK
            carried = self._pay(owed, codepoint) if owed else 0
            if carried < 0:
                continue
            if self.exit_of[node] != NO_ROUTE:
                after.append(node << OWES_BITS | carried)
            for number, to in self.character_edges[node]:
                if codepoint in charsets[number]:
                    after.append(to << OWES_BITS | carried)
        return after

    def _pay(self, owed: int, codepoint: int) -> int:
        """What is owed after this character; -1: the promise is broken."""
        if owed & OWES_END or (owed & (OWES_LAST_NEWLINE | OWES_LINE_END) and codepoint != NEWLINE):
            return -1
        if owed & (OWES_WORD | OWES_NO_WORD) and owed & (OWES_NO_WORD if codepoint in self._word else OWES_WORD):
            return -1
        if owed & (OWES_ASCII_WORD | OWES_NO_ASCII_WORD):
            broken = OWES_NO_ASCII_WORD if codepoint in self._ascii_word else OWES_ASCII_WORD
            if owed & broken:
                return -1
        return OWES_END if owed & OWES_LAST_NEWLINE else 0

    def follow(self, threads: Iterable[int], previous: int | None) -> set[int]:
        """These threads and all that free edges lead to; `previous` is the character before, None at the start."""
        stack = list(threads)
        seen = set(stack)
        while stack:
            thread = stack.pop()
            owed = thread & OWES_MASK
            for kind, to in self.free_edges[thread >> OWES_BITS]:
                promised = owed if kind == nfa.FREE else self._promise(kind, owed, previous)
                following = to << OWES_BITS | promised
                if promised >= 0 and following not in seen:
                    seen.add(following)
                    stack.append(following)
        return seen

    def _prune(self, seen: Iterable[int]) -> State:
        first_route, exit_of = self.automaton.first_route, self.exit_of
        won = min((exit_of[thread >> OWES_BITS] for thread in seen if not thread & OWES_MASK), default=NO_ROUTE)
        left: list[int] = []
        at_end = NO_ROUTE
        for thread in seen:
            node = thread >> OWES_BITS
            is_exit = exit_of[node] != NO_ROUTE
            if first_route[node] < won and (is_exit or self.character_edges[node]):
                left.append(thread)
                if is_exit and not thread & NOT_AT_END:
                    at_end = min(at_end, exit_of[node])
        return State(frozenset(left), won, at_end)

    def _promise(self, kind: int, owed: int, previous: int | None) -> int:
        """What is owed after this assertion; -1: it does not hold here."""
        if kind == nfa.START or kind == nfa.LINE_START:
            holds = previous is None or (kind == nfa.LINE_START and previous == NEWLINE)
            return owed if holds else -1
        if kind in _OWED_BY_END:
            return owed | _OWED_BY_END[kind]
        words, more, fewer = self._boundaries[kind]
        after_word = previous is not None and previous in words
        turning = kind in (nfa.BOUNDARY, nfa.ASCII_BOUNDARY)
        owed |= fewer if turning == after_word else more
        if previous is None and (turning or EMPTY_TEXT_HAS_NO_BOUNDARY):
            owed |= OWES_MORE
        return owed
