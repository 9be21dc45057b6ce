"""What can be known about a table without serving it: routes that can never win, that compete, why a path goes where.

All answers come from the automaton and are exact: `unreachable` and `overlaps` look at *all* paths, not at samples.
What has no automaton, or would need more steps than the limits below, is told by `undecided`, never guessed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from re import _constants as op  # type: ignore[attr-defined]

from fastcore.routing.automaton import BOUNDARY, Automaton
from fastcore.routing.charsets import CharSet, charset, word_set
from fastcore.routing.errors import escape_controls
from fastcore.routing.patterns import Route
from fastcore.routing.simulation import NO_ROUTE, NOT_AT_END, OWES_BITS, OWES_MASK, Simulation, State
from fastcore.routing.tree import REPEATS, SINGLE_CHARACTERS, SubPattern, combine_flags

MAX_STATES_PER_ROUTE = 20_000
MAX_PAIRS = 400_000
MAX_OVERLAPS = 10_000

_PLEASANT = [ord(c) for c in "a1x-_./0bA ~"]

Dispatch = Callable[[str], "tuple[int, dict[str, str]] | None"]


@dataclass(frozen=True, slots=True)
class Unreachable:
    """`route` never wins: `taken_by` win all its paths, `example` is one; None where it matches no path at all."""

    route: Route
    taken_by: tuple[Route, ...]
    example: str | None

    def __str__(self) -> str:
        if self.example is None:
            return f"{self.route!r} matches no path at all"
        takers = ", ".join(map(repr, self.taken_by))
        take = "takes" if len(self.taken_by) == 1 else "take"
        return f"{self.route!r} never wins: {takers} {take} all its paths, such as {self.example!r}"


@dataclass(frozen=True, slots=True)
class Undecided:
    """Whether `route` can win is not known, for this `reason`."""

    route: Route
    reason: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """Both routes match `example`, and perhaps more paths; `winner` has it (it may be a third one)."""

    first: Route
    second: Route
    example: str
    winner: Route

    def __str__(self) -> str:
        return f"{self.example!r} matches {self.first!r} and {self.second!r}; {self.winner!r} wins"


class _TooManyStates(Exception):
    pass


class Alphabet:
    """Characters that stand for all others: two that are in the same sets lead to the same places."""

    def __init__(self, charsets: Sequence[CharSet]) -> None:
        mixed = [chars for chars in charsets if chars.wide is None]
        self.wide = _wide_representatives(mixed)

    def choices(self, sets: Sequence[CharSet], *, anything: bool) -> Iterator[int]:
        """One character for each way to be in some of these sets; with `anything`, also some that are in none."""
        groups = [(1 << 128) - 1] if anything else _union(sets)
        for chars in {chars.ascii for chars in sets} | _SPECIAL:
            groups = [part for group in groups for part in (group & chars, group & ~chars) if part]
        for group in groups:
            yield _pick(group)
        if anything or any(chars.wide is not False for chars in sets):
            yield from self.wide


_SPECIAL = {1 << 10, sum(1 << ord(c) for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")}
"""What anchors ask about: newlines and word characters."""


def _union(sets: Sequence[CharSet]) -> list[int]:
    union = 0
    for chars in sets:
        union |= chars.ascii
    return [union] if union else []


def _pick(group: int) -> int:
    for codepoint in _PLEASANT:
        if group >> codepoint & 1:
            return codepoint
    printable = group & (((1 << 127) - 1) >> 33 << 33)
    chosen = printable or group
    return (chosen & -chosen).bit_length() - 1


def _unpleasantness(codepoint: int) -> int:
    """Examples are for people: what can be printed is tried first."""
    if codepoint in _PLEASANT:
        return _PLEASANT.index(codepoint)
    return 1000 + codepoint if 32 < codepoint < 127 else 2000 + codepoint


def _wide_representatives(mixed: Sequence[CharSet]) -> list[int]:
    """One character beyond ASCII for each combination of these sets that exists; no surrogate where that can be."""
    borders = {128, 0xD800, 0xE000}
    ranges = [chars.ranges() for chars in mixed]
    for one in ranges:
        for first, last in one:
            borders |= {first, last + 1}
    members = [iter(spans) for spans in ranges]
    current = [next(member, None) for member in members]
    chosen: dict[tuple[bool, ...], int] = {}
    for start in sorted(border for border in borders if border <= 0x10FFFF):
        inside = []
        for place, member in enumerate(members):
            span = current[place]
            while span is not None and span[1] < start:
                span = current[place] = next(member, None)
            inside.append(span is not None and span[0] <= start)
        key = tuple(inside)
        if key not in chosen or 0xD800 <= chosen[key] < 0xE000:
            chosen[key] = start
    return list(chosen.values())


class Analysis:
    """One table's analysis; `dispatch` is the matcher's `find`, which has the last word on every example."""

    def __init__(self, routes: Sequence[Route], dispatch: Dispatch) -> None:
        self.routes, self.dispatch = routes, dispatch
        self.automaton = Automaton(routes)
        self.table = Simulation(self.automaton)
        asked = [word_set(re.UNICODE)] if any(kind >= BOUNDARY for kind in self.automaton.free_edges[1::3]) else []
        self.alphabet = Alphabet([*self.automaton.charsets, *asked])
        self._verdicts: list[Unreachable | Undecided] | None = None

    def verdicts(self) -> list[Unreachable | Undecided]:
        """For each route that does not certainly win some path, in the order of the table."""
        if self._verdicts is None:
            found = (self._judge(route) for route in self.routes)
            self._verdicts = [verdict for verdict in found if verdict is not None]
        return self._verdicts

    def _judge(self, route: Route) -> Unreachable | Undecided | None:
        if self._wins(route, sample(route.tree, route.flags)):
            return None
        if route.index in self.automaton.irregular:
            return Undecided(route, self.automaton.irregular[route.index])
        try:
            return self._search(route)
        except _TooManyStates:
            return Undecided(route, f"it needs more than {MAX_STATES_PER_ROUTE} states")

    def _wins(self, route: Route, path: str) -> bool:
        found = self.dispatch(path)
        return found is not None and found[0] == route.index

    def _search(self, route: Route) -> Unreachable | Undecided | None:
        """Goes through all texts that the route may match, side by side with the routes before it."""
        alone = Simulation(Automaton([route]))
        first = alone.start(), _before(self.table.start(), self.table, route.index)
        queue = deque([(first, "")])
        seen = {first}
        takers: set[int] = set()
        example: str | None = None
        while queue:
            (own, others), text = queue.popleft()
            if min(others.won, others.at_end) < route.index and _accepts(own):
                takers.add(min(others.won, others.at_end))
                example = text if example is None else example
            elif _accepts(own):
                if self._wins(route, text):
                    return None
                return Undecided(route, "an earlier route that has no automaton takes some of its paths")
            for codepoint in self._choices(alone, own, others):
                following = _sticky(own, alone, codepoint), self._step_others(others, codepoint, route.index)
                if (following[0].threads or following[0].won == 0) and following not in seen:
                    seen.add(following)
                    queue.append((following, text + chr(codepoint)))
            if len(seen) > MAX_STATES_PER_ROUTE:
                raise _TooManyStates
        return Unreachable(route, tuple(self.routes[index] for index in sorted(takers)), example)

    def _choices(self, alone: Simulation, own: State, others: State) -> Iterator[int]:
        if own.won == 0 and others.won != NO_ROUTE and not others.threads:
            return iter(())
        sets = [*_sets_of(alone, own), *_sets_of(self.table, others)]
        return iter(sorted(self.alphabet.choices(sets, anything=own.won == 0 or _owes(own)), key=_unpleasantness))

    def _step_others(self, others: State, codepoint: int, limit: int) -> State:
        """The earlier routes after one more character: what has won stays won, unless a yet earlier one wins."""
        following = _before(self.table.step(others, codepoint), self.table, min(limit, others.won))
        return following._replace(won=min(others.won, following.won))

    def overlaps(self) -> list[Overlap]:
        """Pairs of routes that match a common path, by the order of the table, each with the shortest example found.

        Two nodes are followed at a time, whatever their routes, so the work grows with the automaton and not with the
        pairs of routes. Raises OverflowError beyond MAX_PAIRS.
        """
        pairs = _Pairs(self.table, self.alphabet)
        overlaps = []
        for (first, second), text in sorted(pairs.search().items()):
            found = self.dispatch(text)
            winner = self.routes[first if found is None else found[0]]
            overlaps.append(Overlap(self.routes[first], self.routes[second], text, winner))
        return overlaps


def _before(state: State, simulation: Simulation, limit: int) -> State:
    """The state without all that belongs to routes from `limit` on."""
    first_route = simulation.automaton.first_route
    threads = frozenset(thread for thread in state.threads if first_route[thread >> OWES_BITS] < limit)
    won = state.won if state.won < limit else NO_ROUTE
    return State(threads, won, state.at_end if state.at_end < limit else NO_ROUTE)


def _accepts(own: State) -> bool:
    return own.won == 0 or own.at_end == 0


_WON = State(frozenset(), 0, 0)


def _sticky(own: State, alone: Simulation, codepoint: int) -> State:
    """A route that has matched stays matched, whatever follows."""
    return _WON if own.won == 0 else alone.step(own, codepoint)


def _sets_of(simulation: Simulation, state: State) -> list[CharSet]:
    charsets, edges = simulation.automaton.charsets, simulation.character_edges
    return [charsets[number] for thread in state.threads for number, _ in edges[thread >> OWES_BITS]]


def _owes(state: State) -> bool:
    return any(thread & OWES_MASK for thread in state.threads)


class _Pairs:
    """Follows two threads at a time over the same text. A route that has matched is the thread `-1 - route`."""

    def __init__(self, simulation: Simulation, alphabet: Alphabet) -> None:
        self.simulation, self.alphabet = simulation, alphabet
        self.exits: dict[int, list[int]] = {}
        for route, node in enumerate(simulation.automaton.exits):
            if node >= 0:
                self.exits.setdefault(node, []).append(route)
        self.steps: dict[tuple[int, int], tuple[int, ...]] = {}

    def search(self) -> dict[tuple[int, int], str]:
        start = self.expand(self.simulation.follow([0], None))
        queue: deque[tuple[int, int]] = deque()
        parents: dict[tuple[int, int], tuple[tuple[int, int], int] | None] = {}
        found: dict[tuple[int, int], str] = {}
        for pair in ((one, other) for one in start for other in start if one <= other):
            parents[pair] = None
            queue.append(pair)
        while queue and len(found) < MAX_OVERLAPS:
            pair = queue.popleft()
            for first, second in self.matched(*pair):
                if (first, second) not in found:
                    found[first, second] = _text_of(pair, parents)
            for codepoint in self.choices(*pair):
                for one in self.step(pair[0], codepoint):
                    for other in self.step(pair[1], codepoint):
                        following = (one, other) if one <= other else (other, one)
                        if following not in parents:
                            parents[following] = pair, codepoint
                            queue.append(following)
            if len(parents) > MAX_PAIRS:
                raise OverflowError(f"the overlaps of this table need more than {MAX_PAIRS} steps")
        return found

    def matched(self, one: int, other: int) -> Iterator[tuple[int, int]]:
        for first in self.matched_at_end(one):
            for second in self.matched_at_end(other):
                if first != second:
                    yield min(first, second), max(first, second)

    def matched_at_end(self, thread: int) -> list[int]:
        if thread < 0:
            return [-1 - thread]
        return [] if thread & NOT_AT_END else self.exits.get(thread >> OWES_BITS, [])

    def choices(self, one: int, other: int) -> Iterator[int]:
        if one < 0 and other < 0:
            return iter(())
        edges, charsets = self.simulation.character_edges, self.simulation.automaton.charsets
        sets = [charsets[number] for thread in (one, other) if thread >= 0 for number, _ in edges[thread >> OWES_BITS]]
        owing = any(thread >= 0 and thread & OWES_MASK for thread in (one, other))
        return iter(sorted(self.alphabet.choices(sets, anything=owing), key=_unpleasantness))

    def step(self, thread: int, codepoint: int) -> tuple[int, ...]:
        if thread < 0:
            return (thread,)
        known = self.steps.get((thread, codepoint))
        if known is None:
            known = self.expand(self.simulation.follow(self.simulation.advance([thread], codepoint), codepoint))
            self.steps[thread, codepoint] = known
        return known

    def expand(self, threads: set[int]) -> tuple[int, ...]:
        """Threads that can go on, and those that have matched."""
        kept: set[int] = set()
        for thread in threads:
            node = thread >> OWES_BITS
            if node in self.exits and not thread & OWES_MASK:
                kept |= {-1 - route for route in self.exits[node]}
            elif node in self.exits or self.simulation.character_edges[node]:
                kept.add(thread)
        return tuple(sorted(kept))


def _text_of(pair: tuple[int, int], parents: dict[tuple[int, int], tuple[tuple[int, int], int] | None]) -> str:
    text = ""
    while (step := parents[pair]) is not None:
        pair = step[0]
        text = chr(step[1]) + text
    return text


def sample(items: SubPattern, flags: int) -> str:
    """A short text that the pattern probably matches: the least of every repeat, the first of every alternative."""
    text = ""
    for operator, argument in items:
        if operator in SINGLE_CHARACTERS:
            chars = charset(operator, argument, flags)
            text += chr(argument) if operator is op.LITERAL else chr(_pick(chars.ascii)) if chars.ascii else ""
        elif operator is op.SUBPATTERN:
            text += sample(argument[3], combine_flags(flags, argument[1], argument[2]))
        elif operator in REPEATS:
            text += sample(argument[2], flags) * min(argument[0], 1000)
        elif operator is op.BRANCH:
            text += sample(argument[1][0], flags)
        elif operator is op.ATOMIC_GROUP:
            text += sample(argument, flags)
    return text


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one route fared with a path: `matched`, else it went along for `reached` characters (-1: not known)."""

    route: Route
    matched: bool
    reached: int
    note: str

    def __str__(self) -> str:
        return f"route {self.route.index} {escape_controls(self.route.pattern)!r}: {self.note}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a path goes where it goes. `attempts` has every route, in the order of the table; `winner` may be None."""

    path: str
    winner: Route | None
    parameters: dict[str, str]
    attempts: tuple[Attempt, ...]

    def __str__(self) -> str:
        """The winner, the routes that match too, and of the others the ten that came nearest."""
        if self.winner is None:
            lines = [f"{self.path!r}: no route"]
        else:
            lines = [f"{self.path!r}: {self.winner!r} with {self.parameters!r}"]
        others = [attempt for attempt in self.attempts if not attempt.matched]
        near = sorted(others, key=lambda attempt: -attempt.reached)[:10]
        shown = [attempt for attempt in self.attempts if attempt.matched or attempt in near]
        lines += [f"  {attempt}" for attempt in shown]
        if len(shown) < len(self.attempts):
            lines.append(f"  and {len(self.attempts) - len(shown)} others that fail earlier")
        return "\n".join(lines)


def explain(routes: Sequence[Route], dispatch: Dispatch, path: str) -> Explanation:
    """What each route makes of a path, and which wins."""
    found = dispatch(path)
    winner = None if found is None else routes[found[0]]
    attempts = tuple(_attempt(route, path, winner) for route in routes)
    return Explanation(path, winner, {} if found is None else found[1], attempts)


def _attempt(route: Route, path: str, winner: Route | None) -> Attempt:
    automaton = Automaton([route])
    if automaton.irregular:
        reason = next(iter(automaton.irregular.values()))
        matched = route is winner or route.compiled.match(path) is not None
        return Attempt(route, matched, -1, (_tell_match(route, winner) if matched else "no match") + f" ({reason})")
    simulation = Simulation(automaton)
    state, reached = simulation.start(), 0
    for char in path:
        if state.won == 0:
            break
        following = simulation.step(state, ord(char))
        if not following.threads and following.won != 0:
            return Attempt(route, False, reached, _tell_stop(simulation, state, path, reached))
        state, reached = following, reached + 1
    if _accepts(state):
        return Attempt(route, True, len(path), _tell_match(route, winner))
    return Attempt(route, False, reached, _tell_stop(simulation, state, path, reached))


def _tell_match(route: Route, winner: Route | None) -> str:
    if winner is None or route is winner:
        return "wins"
    return f"matches too, but comes after route {winner.index}"


def _tell_stop(simulation: Simulation, state: State, path: str, reached: int) -> str:
    expected: list[str] = sorted({chars.source for chars in _sets_of(simulation, state)})
    exits = simulation.exit_of
    if any(exits[thread >> OWES_BITS] != NO_ROUTE for thread in state.threads):
        expected.append("the end")
    stopper = repr(path[reached]) if reached < len(path) else "the end"
    wanted = " or ".join(expected[:6]) or "nothing"
    return f"goes along with {path[:reached]!r}, then wants {wanted}, not {stopper}"


__all__: list[str] = ["Analysis", "Explanation", "Overlap", "Undecided", "Unreachable", "explain"]
