"""The whole table as one nondeterministic automaton: parse trees in, nodes and edges out. No matching happens here.

A node stands for a set of texts: those that lead to it from the root. Routes that begin alike share their first
nodes, so the automaton is a tree near its root, as the table is. Edges are of two kinds: *character* edges consume
one character of a set; *free* edges consume none and may carry an assertion about the place where they stand. A route
is matched when its exit is reached. Priorities within a pattern (greed, order of alternatives) do not matter for
*whether* it matches, so they are left out here; `fastcore.routing.captures` has them.

What has no automaton (references, look-around, conditionals, atomic groups) raises NotRegularError and stays with `re`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

from fastcore.routing.charsets import CharSet, charset
from fastcore.routing.patterns import Route
from fastcore.routing.tree import SINGLE_CHARACTERS, SubPattern, combine_flags, freeze

MAX_NODES_PER_ROUTE = 4000

_EXIT = "exit"
_IGNORECASE = int(re.IGNORECASE)

ROOT = 0
FREE, START, LINE_START, END, END_OR_NEWLINE, LINE_END, BOUNDARY, NO_BOUNDARY, ASCII_BOUNDARY, ASCII_NO_BOUNDARY = (
    range(10)
)
"""What a free edge asserts: nothing, or where it stands."""

ASSERTION_NAMES = ("", r"\A", "(?m:^)", r"\Z", "$", "(?m:$)", r"\b", r"\B", r"(?a:\b)", r"(?a:\B)")


class NotRegularError(Exception):
    """This pattern has no automaton; the message says what in it has none."""


class Automaton:
    """Nodes are numbers from 0, the root.

    `character_edges` holds (from, set, to) and `free_edges` (from, assertion, to), flat; sets are indices into
    `charsets`. `exits[route]` is the node where a route is matched, -1 for one that is not in the automaton:
    `irregular[route]` says why. `first_route[node]` is the lowest route that can still be matched from a node: once a
    lower one has won, it is of no use.
    """

    def __init__(self, routes: Sequence[Route] = ()) -> None:
        self.charsets: list[CharSet] = []
        self.character_edges = array("i")
        self.free_edges = array("i")
        self.first_route = array("i", [0])
        self.exits = array("i")
        self.irregular: dict[int, str] = {}
        self._set_numbers: dict[CharSet, int] = {}
        self._shared: dict[tuple[int, Any], int] = {}
        self._literal_numbers: dict[int, int] = {}
        self._route = 0
        self._budget = 0
        for route in routes:
            self.add(route)

    def __len__(self) -> int:
        return len(self.first_route)

    def add(self, route: Route) -> None:
        """Adds the next route of the table; the indices of routes must be those of their order."""
        self._route = route.index
        self._budget = MAX_NODES_PER_ROUTE
        try:
            self.exits.append(self._add_exit(self._add_items(ROOT, route.tree, route.flags)))
        except NotRegularError as error:
            self.exits.append(-1)
            self.irregular[route.index] = str(error)
        except RecursionError:
            self.exits.append(-1)
            self.irregular[route.index] = "it is nested too deeply"

    def _add_items(self, node: int, items: SubPattern, flags: int) -> int:
        plain = not flags & _IGNORECASE
        shared = self._shared
        for operator, argument in items.data:
            if plain and operator is op.LITERAL:
                known = shared.get((node, argument))
                node = known if known is not None else self._consume_literal(node, argument)
            else:
                node = self._add_item(node, operator, argument, flags)
        return node

    def _add_item(self, node: int, operator: Any, argument: Any, flags: int) -> int:
        if operator in SINGLE_CHARACTERS:
            key = (operator, tuple(argument) if operator is op.IN else argument, flags)
            known = self._shared.get((node, key))
            return known if known is not None else self._consume(node, key, operator, argument, flags)
        if operator is op.SUBPATTERN:
            return self._add_items(node, argument[3], combine_flags(flags, argument[1], argument[2]))
        if operator in (op.MAX_REPEAT, op.MIN_REPEAT):
            least, most, content = argument
            return self._add_repeat(node, least, most, content, flags)
        if operator is op.BRANCH:
            return self._add_alternatives(node, argument[1], flags)
        if operator is op.AT:
            return self._assert(node, assertion(argument, flags))
        raise NotRegularError(_IRREGULAR.get(operator, f"it has {operator}"))

    def _add_repeat(self, node: int, least: int, most: Any, content: SubPattern, flags: int) -> int:
        endless = most is op.MAXREPEAT
        key = (op.MAX_REPEAT, least, int(most), freeze(content, flags))
        known = self._shared.get((node, key))
        if known is not None:
            return known
        start = node
        for _ in range(least):
            node = self._add_items(node, content, flags)
        end = self._add_node()
        if endless:
            loop = self._add_node()
            self._add_free(node, loop)
            self._add_free(self._add_items(loop, content, flags), loop)
            node = loop
        else:
            for _ in range(most - least):
                self._add_free(node, end)
                before, node = node, self._add_items(node, content, flags)
                if node == before:
                    break
        self._add_free(node, end)
        self._shared[start, key] = end
        return end

    def _add_alternatives(self, node: int, alternatives: Iterable[SubPattern], flags: int) -> int:
        alternatives = list(alternatives)
        key = (op.BRANCH, tuple(freeze(alternative, flags) for alternative in alternatives))
        known = self._shared.get((node, key))
        if known is not None:
            return known
        end = self._add_node()
        for alternative in alternatives:
            self._add_free(self._add_items(node, alternative, flags), end)
        self._shared[node, key] = end
        return end

    def _assert(self, node: int, kind: int) -> int:
        if node == ROOT and kind in (START, LINE_START):
            return node
        key = (op.AT, kind)
        known = self._shared.get((node, key))
        if known is None:
            known = self._shared[node, key] = self._add_node()
            self._add_free(node, known, kind)
        return known

    def _consume(self, node: int, key: Any, operator: Any, argument: Any, flags: int) -> int:
        number = self._set_number(charset(operator, argument, flags))
        new = self._shared[node, key] = self._add_node()
        self.character_edges.extend((node, number, new))
        return new

    def _add_exit(self, node: int) -> int:
        """A node that nothing leaves; routes that match the same texts for the same reason share it."""
        known = self._shared.get((node, _EXIT))
        if known is None:
            known = self._shared[node, _EXIT] = self._add_node()
            self._add_free(node, known)
        return known

    def _consume_literal(self, node: int, codepoint: int) -> int:
        number = self._literal_numbers.get(codepoint)
        if number is None:
            number = self._literal_numbers[codepoint] = self._set_number(charset(op.LITERAL, codepoint, 0))
        new = self._shared[node, codepoint] = self._add_node()
        self.character_edges.extend((node, number, new))
        return new

    def _set_number(self, chars: CharSet) -> int:
        number = self._set_numbers.get(chars)
        if number is None:
            number = self._set_numbers[chars] = len(self.charsets)
            self.charsets.append(chars)
        return number

    def _add_free(self, node: int, to: int, kind: int = FREE) -> None:
        if node != to or kind != FREE:
            self.free_edges.extend((node, kind, to))

    def _add_node(self) -> int:
        self._budget -= 1
        if self._budget < 0:
            raise NotRegularError(f"it needs more than {MAX_NODES_PER_ROUTE} nodes (a large counted repeat)")
        self.first_route.append(self._route)
        return len(self.first_route) - 1


def assertion(at: Any, flags: int) -> int:
    """The assertion that an anchor of a parse tree makes under these flags."""
    lines, ascii_only = flags & re.MULTILINE, flags & re.ASCII
    if at is op.AT_BEGINNING:
        return LINE_START if lines else START
    if at is op.AT_BEGINNING_STRING:
        return START
    if at is op.AT_END:
        return LINE_END if lines else END_OR_NEWLINE
    if at is op.AT_END_STRING:
        return END
    if at is op.AT_BOUNDARY:
        return ASCII_BOUNDARY if ascii_only else BOUNDARY
    if at is op.AT_NON_BOUNDARY:
        return ASCII_NO_BOUNDARY if ascii_only else NO_BOUNDARY
    raise NotRegularError(f"it has the anchor {at}")


_IRREGULAR = {
    op.GROUPREF: "it refers back to a group",
    op.GROUPREF_EXISTS: "it has a conditional",
    op.ASSERT: "it looks ahead or behind",
    op.ASSERT_NOT: "it looks ahead or behind",
    op.ATOMIC_GROUP: "it has an atomic group",
    op.POSSESSIVE_REPEAT: "it has a possessive repeat",
}
