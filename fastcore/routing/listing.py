"""The compiled table for people: which routes are slow and why, and what the automaton and the programs look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastcore.routing.automaton import ASSERTION_NAMES, Automaton, NotRegularError
from fastcore.routing.captures import list_program, write_program
from fastcore.routing.errors import escape_controls
from fastcore.routing.patterns import Route
from fastcore.routing.simulation import Simulation


@dataclass(frozen=True, slots=True)
class SlowRoute:
    """`re` matches or captures `route`, so that time linear in the path is not promised, for this `reason`."""

    route: Route
    reason: str


def find_slow(routes: Sequence[Route]) -> list[SlowRoute]:
    """Routes that `re` matches (no automaton) or captures (no program), each with the reason."""
    reasons = dict(Automaton(routes).irregular)
    for route in routes:
        if route.index not in reasons and route.groups:
            try:
                write_program(route)
            except NotRegularError as error:
                reasons[route.index] = str(error)
    return [SlowRoute(routes[index], reason) for index, reason in sorted(reasons.items())]


def list_table(routes: Sequence[Route]) -> str:
    """Nodes with their edges, then each route's program."""
    automaton = Automaton(routes)
    simulation = Simulation(automaton)
    lines = [f"automaton: {len(automaton)} nodes, {len(automaton.charsets)} sets"]
    exits: dict[int, list[int]] = {}
    for index, node in enumerate(automaton.exits):
        exits.setdefault(node, []).append(index)
    for node in range(len(automaton)):
        edges = [f"{automaton.charsets[number].source} -> {to}" for number, to in simulation.character_edges[node]]
        edges += [f"{ASSERTION_NAMES[kind] or 'free'} -> {to}" for kind, to in simulation.free_edges[node]]
        edges += [f"route {index} is matched" for index in exits.get(node, ())]
        lines.append(f"{node:4d}  {',  '.join(edges)}")
    for route in routes:
        lines += ["", f"route {route.index}: {escape_controls(route.pattern)}", _list_captures(route, automaton)]
    return "\n".join(lines)


def _list_captures(route: Route, automaton: Automaton) -> str:
    if route.index in automaton.irregular:
        return f"      by re: {automaton.irregular[route.index]}"
    if not route.groups:
        return "      no parameters"
    try:
        program = write_program(route)
    except NotRegularError as error:
        return f"      captures by re: {error}"
    kind = "decided: the next character makes every choice" if program.decided else "with choices"
    return f"      {kind}\n{list_program(program)}"
