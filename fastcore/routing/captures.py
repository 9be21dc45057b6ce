"""Where a winning route's parameters lie: its pattern as a small program that a backtracking machine runs.

The machine tries choices in the pattern's own order, as `re` does, so the captures are those of `re`; but it
remembers which choice it has already tried at which place and never tries it twice, so its time is linear in the
text. Most choices are no choices at all: the next character decides. Where all are decided so, the program is
*decided*: since the automaton has already found that the route matches, such a program checks nothing and only walks
to where the parameters begin and end.

Instructions: SKIP n, SPAN set (all characters of the set that follow), SET set (one of it), SAVE slot, SPLIT
(preferred, other), JUMP, ASSERT, ACCEPT. Slot 2n is where the n-th parameter begins, slot 2n+1 where it ends.
"""

from __future__ import annotations

import re
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

from fastcore.routing import automaton as nfa
from fastcore.routing.automaton import NotRegularError, assertion
from fastcore.routing.charsets import CharSet, charset, newline_set
from fastcore.routing.patterns import Route
from fastcore.routing.tree import SINGLE_CHARACTERS, SubPattern, combine_flags
from fastcore.values import dataclass, field

MAX_INSTRUCTIONS = 4000

ACCEPT, SKIP, SPAN, SET, SAVE, SPLIT, JUMP, ASSERT, LOOP = range(9)
OPERATION_NAMES = ("ACCEPT", "SKIP", "SPAN", "SET", "SAVE", "SPLIT", "JUMP", "ASSERT", "LOOP")

PREFERRED_AT_END, OTHER_AT_END, PREFERRED_ALWAYS, OTHER_ALWAYS = 1, 2, 4, 8
"""What a SPLIT knows besides two sets: which sides are possible at the end of the text, and with any character."""


@dataclass(slots=True, eq=False)
class Look:
    """What may come next from some place in a program: a character of these sets, the end, or anything."""

    sets: frozenset[CharSet] = frozenset()
    at_end: bool = False
    always: bool = False
    ascii: int = 0
    wide: bool | None = False
    source: str = ""

    def __contains__(self, codepoint: int) -> bool:
        return self.always or any(codepoint in chars for chars in self.sets)

    def add(self, chars: CharSet) -> None:
        if chars in self.sets:
            return
        self.sets |= {chars}
        self.ascii |= chars.ascii
        self.wide = True if chars.wide or self.wide else None if None in (chars.wide, self.wide) else False

    def excludes(self, other: Look) -> bool:
        """No next character and no end is possible for both."""
        if self.always or other.always or (self.at_end and other.at_end):
            return False
        return not self.ascii & other.ascii and False in (self.wide, other.wide)


@dataclass(slots=True)
class Program:
    """`words` is the program, flat; SET, SPAN and SPLIT name sets by index in `sets`; `names` are the parameters."""

    words: list[int]
    sets: list[CharSet | Look]
    names: tuple[str, ...]
    decided: bool
    splits: int
    listing: list[str] = field(default_factory=list)


def write_program(route: Route) -> Program:
    """The program of a route. Raises NotRegularError where only `re` can tell the captures."""
    writer = _Writer(route)
    writer.write(route.tree, route.flags)
    writer.emit(ACCEPT)
    return _Assembler(writer).assemble()


class _Writer:
    """Parse tree in, instructions with symbolic places out: [operation, argument, argument]."""

    def __init__(self, route: Route) -> None:
        self.names = tuple(route.groups)
        self.slots = {number: 2 * place for place, number in enumerate(route.groups.values())}
        self.code: list[list[Any]] = []

    def emit(self, *instruction: Any) -> list[Any]:
        if len(self.code) >= MAX_INSTRUCTIONS:
            raise NotRegularError(f"it needs more than {MAX_INSTRUCTIONS} instructions (a large counted repeat)")
        self.code.append(list(instruction))
        return self.code[-1]

    def write(self, items: SubPattern, flags: int) -> None:
        for operator, argument in items:
            self.write_item(operator, argument, flags)

    def write_item(self, operator: Any, argument: Any, flags: int) -> None:
        if operator in SINGLE_CHARACTERS:
            self.emit(SET, charset(operator, argument, flags))
        elif operator is op.SUBPATTERN:
            slot = self.slots.get(argument[0])
            if slot is not None:
                self.emit(SAVE, slot)
            self.write(argument[3], combine_flags(flags, argument[1], argument[2]))
            if slot is not None:
                self.emit(SAVE, slot + 1)
        elif operator in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, content = argument
            self.write_repeat(least, most, content, flags, greedy=operator is op.MAX_REPEAT)
        elif operator is op.BRANCH:
            self.write_alternatives(list(argument[1]), flags)
        elif operator is op.AT:
            kind = assertion(argument, flags)
            if self.code or kind not in (nfa.START, nfa.LINE_START):
                self.emit(ASSERT, kind)
        else:
            raise NotRegularError(f"it has {operator}")

    def write_repeat(self, least: int, most: Any, content: SubPattern, flags: int, *, greedy: bool) -> None:
        if most != 1 and content.getwidth()[0] == 0:
            raise NotRegularError("it repeats something that may be empty")
        for _ in range(least):
            self.write(content, flags)
        if most is not op.MAXREPEAT:
            splits = []
            for _ in range(int(most) - least):
                splits.append(self.emit_split(greedy))
                self.write(content, flags)
            for split in splits:
                self.close_split(split, greedy)
        elif len(content) == 1 and content[0][0] in SINGLE_CHARACTERS:
            self.emit(LOOP, charset(content[0][0], content[0][1], flags), greedy)
        else:
            start = len(self.code)
            split = self.emit_split(greedy)
            self.write(content, flags)
            self.emit(JUMP, start)
            self.close_split(split, greedy)

    def emit_split(self, greedy: bool) -> list[Any]:
        """A choice between what follows and a place that `close_split` tells later."""
        split = self.emit(SPLIT, None, None)
        split[1 if greedy else 2] = len(self.code)
        return split

    def close_split(self, split: list[Any], greedy: bool) -> None:
        split[2 if greedy else 1] = len(self.code)

    def write_alternatives(self, alternatives: list[SubPattern], flags: int) -> None:
        jumps = []
        for alternative in alternatives[:-1]:
            split = self.emit_split(True)
            self.write(alternative, flags)
            jumps.append(self.emit(JUMP, None))
            self.close_split(split, True)
        self.write(alternatives[-1], flags)
        for jump in jumps:
            jump[1] = len(self.code)


class _Assembler:
    """Decides what the next character decides, and lays the instructions out as words."""

    def __init__(self, writer: _Writer) -> None:
        self.code, self.names = writer.code, writer.names
        self.sets: list[CharSet | Look] = []
        self.looks: dict[int, Look] = {}

    def assemble(self) -> Program:
        for place, instruction in enumerate(self.code):
            if instruction[0] == LOOP and self.is_span(place):
                instruction[0] = SPAN
        decided = all(self.is_decided(place) for place in range(len(self.code)))
        words: list[int] = []
        starts: dict[int, int] = {}
        references: list[tuple[int, int]] = []
        splits = 0
        for place, instruction in enumerate(self.code):
            starts[place] = len(words)
            operation = instruction[0]
            if operation == SET and decided:
                words += SKIP, 1
            elif operation in (SET, SPAN):
                words += operation, self.set_number(instruction[1])
            elif operation == SPLIT:
                words += self.split_words(instruction[1], instruction[2], splits, references, len(words))
                splits += 1
            elif operation == LOOP:
                words += self.loop_words(place, instruction, splits, references, len(words))
                splits += 1
            elif operation == JUMP:
                references.append((len(words) + 1, instruction[1]))
                words += JUMP, 0
            elif operation != ASSERT or not decided:
                words += instruction
        for place, to in references:
            if to >= 0:
                words[place] = starts[to]
        if decided:
            words = _merge_skips(words)
        return Program(words, self.sets, self.names, decided, splits)

    def split_words(
        self, preferred: int, other: int, number: int, references: list[tuple[int, int]], at: int
    ) -> list[int]:
        references += (at + 1, preferred), (at + 2, other)
        one, two = self.look(preferred), self.look(other)
        return [SPLIT, 0, 0, self.set_number(one), self.set_number(two), _split_bits(one, two), number]

    def loop_words(
        self, place: int, instruction: list[Any], number: int, references: list[tuple[int, int]], at: int
    ) -> list[int]:
        """A loop over one set whose end the next character does not decide: SPLIT, SET, JUMP back."""
        _, chars, greedy = instruction
        body, leave = Look(), self.look(place + 1)
        body.add(chars)
        references.append((at + 2 if greedy else at + 1, place + 1))
        one, two = (body, leave) if greedy else (leave, body)
        targets = [at + 7, 0] if greedy else [0, at + 7]
        split = [SPLIT, *targets, self.set_number(one), self.set_number(two), _split_bits(one, two), number]
        return [*split, SET, self.set_number(chars), JUMP, at]

    def set_number(self, chars: CharSet | Look) -> int:
        for number, known in enumerate(self.sets):
            if known is chars:
                return number
        self.sets.append(chars)
        return len(self.sets) - 1

    def is_decided(self, place: int) -> bool:
        operation, *arguments = self.code[place]
        if operation == SPLIT:
            return self.look(arguments[0]).excludes(self.look(arguments[1]))
        return bool(operation != LOOP)

    def is_span(self, place: int) -> bool:
        """Whether a loop over one set always takes all it can: what follows cannot begin with a character of the set,
        or, for a greedy loop, nothing but the end follows."""
        _, chars, greedy = self.code[place]
        leave = self.look(place + 1)
        inside = Look()
        inside.add(chars)
        if inside.excludes(leave):
            return True
        if not greedy:
            return False
        if leave.always:
            return self.only_accepts(place + 1)
        return leave.sets <= {newline_set()} and 10 in chars and self.only_ends(place + 1)

    def only_accepts(self, place: int) -> bool:
        while self.code[place][0] in (SAVE, JUMP):
            place = self.code[place][1] if self.code[place][0] == JUMP else place + 1
        return bool(self.code[place][0] == ACCEPT)

    def only_ends(self, place: int) -> bool:
        """Nothing follows but `$` or `\\Z` and the end of the pattern."""
        while self.code[place][0] in (SAVE, JUMP):
            place = self.code[place][1] if self.code[place][0] == JUMP else place + 1
        operation, *arguments = self.code[place]
        return operation == ASSERT and arguments[0] in (nfa.END, nfa.END_OR_NEWLINE) and self.only_accepts(place + 1)

    def look(self, place: int) -> Look:
        known = self.looks.get(place)
        if known is None:
            known = self.looks[place] = Look()
            self.gather(place, known, set())
        return known

    def gather(self, place: int, look: Look, seen: set[int]) -> None:
        stack = [place]
        while stack:
            place = stack.pop()
            if place in seen:
                continue
            seen.add(place)
            operation, *arguments = self.code[place]
            if operation == ACCEPT:
                look.always = look.at_end = True
            elif operation == SET:
                look.add(arguments[0])
            elif operation in (LOOP, SPAN):
                look.add(arguments[0])
                stack.append(place + 1)
            elif operation == SPLIT:
                stack += arguments
            elif operation == JUMP:
                stack.append(arguments[0])
            elif operation == ASSERT and arguments[0] in (nfa.END, nfa.END_OR_NEWLINE, nfa.LINE_END):
                look.at_end = True
                if arguments[0] != nfa.END:
                    look.add(newline_set())
            else:
                stack.append(place + 1)


def _split_bits(preferred: Look, other: Look) -> int:
    bits = PREFERRED_AT_END if preferred.at_end else 0
    bits |= OTHER_AT_END if other.at_end else 0
    bits |= PREFERRED_ALWAYS if preferred.always else 0
    return bits | (OTHER_ALWAYS if other.always else 0)


_LENGTHS = {ACCEPT: 1, SKIP: 2, SPAN: 2, SET: 2, SAVE: 2, SPLIT: 7, JUMP: 2, ASSERT: 2}


def _merge_skips(words: list[int]) -> list[int]:
    """Neighbouring SKIPs become one, except across a place that something jumps to."""
    targets: set[int] = set()
    for place in _places(words):
        if words[place] == SPLIT:
            targets |= {words[place + 1], words[place + 2]}
        elif words[place] == JUMP:
            targets.add(words[place + 1])
    merged: list[int] = []
    moved: dict[int, int] = {}
    last_skip = -1
    for place in _places(words):
        moved[place] = len(merged)
        if words[place] == SKIP and last_skip >= 0 and place not in targets:
            merged[last_skip + 1] += words[place + 1]
            continue
        last_skip = len(merged) if words[place] == SKIP else -1
        merged += words[place : place + _LENGTHS[words[place]]]
    for place in _places(merged):
        if merged[place] == SPLIT:
            merged[place + 1], merged[place + 2] = moved[merged[place + 1]], moved[merged[place + 2]]
        elif merged[place] == JUMP:
            merged[place + 1] = moved[merged[place + 1]]
    return merged


def renumber_sets(words: list[int], numbers: list[int]) -> list[int]:
    """The same program with other numbers for its sets: `numbers[old]` is the new one."""
    words = list(words)
    for place in _places(words):
        if words[place] in (SET, SPAN):
            words[place + 1] = numbers[words[place + 1]]
        elif words[place] == SPLIT:
            words[place + 3 : place + 5] = [numbers[number] for number in words[place + 3 : place + 5]]
    return words


def literal_prefix(route: Route) -> str:
    """Text with which every path that the route matches begins."""
    prefix = ""
    for operator, argument in route.tree:
        if operator is op.LITERAL and not route.flags & re.IGNORECASE:
            prefix += chr(argument)
        elif operator is not op.AT:
            break
    return prefix


def _places(words: list[int]) -> list[int]:
    places, place = [], 0
    while place < len(words):
        places.append(place)
        place += _LENGTHS[words[place]]
    return places


def list_program(program: Program) -> str:
    """The program for people, one instruction a line."""
    lines = []
    for place in _places(program.words):
        operation, *arguments = program.words[place : place + _LENGTHS[program.words[place]]]
        if operation in (SET, SPAN):
            shown = program.sets[arguments[0]].source
        elif operation == ASSERT:
            shown = nfa.ASSERTION_NAMES[arguments[0]]
        elif operation == SAVE:
            shown = f"{'end' if arguments[0] % 2 else 'start'} of {program.names[arguments[0] // 2]}"
        elif operation == SPLIT:
            shown = f"{arguments[0]} else {arguments[1]}"
        else:
            shown = " ".join(map(str, arguments))
        lines.append(f"{place:4d} {OPERATION_NAMES[operation]} {shown}".rstrip())
    return "\n".join(lines)
