"""The states that a walk goes through, as an SVG image: circles are states, boxes are routes that have been matched.

An edge is labelled with the characters that lead along it; a chain of states that each accept one character is one
edge with its text. Colours follow the reader's light or dark scheme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from re import _constants as op  # type: ignore[attr-defined]

from fastcore.routing.analysis import Alphabet
from fastcore.routing.automaton import Automaton
from fastcore.routing.charsets import ALL_ASCII, describe_member
from fastcore.routing.patterns import Route
from fastcore.routing.simulation import NO_ROUTE, OWES_BITS, Simulation, State

MAX_STATES = 300

_CHARACTER, _ROW, _RADIUS, _MARGIN = 7.3, 66, 7, 16
_STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#222}path{fill:none;stroke:#789}circle{fill:#fff;stroke:#345}"
    "rect{fill:#e8f0e4;stroke:#5a7d4a}.wins{fill:#2f5d1e}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}circle{fill:#222;stroke:#9ab}rect{fill:#22331c;stroke:#7a9d6a}"
    ".wins{fill:#b6dba5}}"
)


@dataclass(slots=True)
class _Node:
    """A state in the drawing: `edges` are (label, node), `loops` the labels of edges back to itself."""

    verdict: str
    edges: list[tuple[str, int]] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    x: float = 0
    y: float = -1


def draw(routes: Sequence[Route]) -> str:
    """The image as text. Raises ValueError for a table with more than MAX_STATES states."""
    nodes = _explore(routes)
    for node in nodes:
        _contract(nodes, node)
    _place(nodes, 0, _MARGIN + _RADIUS, [_MARGIN + 34])
    return _render(nodes)


def _explore(routes: Sequence[Route]) -> list[_Node]:
    automaton = Automaton(routes)
    simulation = Simulation(automaton)
    alphabet = Alphabet(automaton.charsets)
    start = simulation.start()
    numbers = {start: 0}
    order = [start]
    nodes: list[_Node] = []
    while len(nodes) < len(order):
        state = order[len(nodes)]
        node = _Node(_verdict(state))
        nodes.append(node)
        for following, label in _edges(simulation, alphabet, state):
            if following not in numbers:
                numbers[following] = len(order)
                order.append(following)
                if len(order) > MAX_STATES:
                    raise ValueError(f"a drawing of more than {MAX_STATES} states would not help anybody")
            if following == state:
                node.loops.append(label)
            else:
                node.edges.append((label, numbers[following]))
    return nodes


def _verdict(state: State) -> str:
    if state.won != NO_ROUTE:
        return f"route {state.won}"
    return f"route {state.at_end} $" if state.at_end != NO_ROUTE else ""


def _edges(simulation: Simulation, alphabet: Alphabet, state: State) -> list[tuple[State, str]]:
    charsets = simulation.automaton.charsets
    sets = [
        charsets[number] for thread in state.threads for number, _ in simulation.character_edges[thread >> OWES_BITS]
    ]
    if not sets:
        return []
    groups: dict[State, int] = {}
    remaining = 0
    for chars in sets:
        remaining |= chars.ascii
    for codepoint in alphabet.choices(sets, anything=False):
        following = simulation.step(state, codepoint)
        if codepoint < 128 and (following.threads or following.won != NO_ROUTE):
            group = remaining
            for bits in {chars.ascii for chars in sets}:
                group &= bits if bits >> codepoint & 1 else ~bits
            groups[following] = groups.get(following, 0) | group
        elif following.threads or following.won != NO_ROUTE:
            groups.setdefault(following, 0)
    return [(following, _label(bits)) for following, bits in groups.items()]


def _label(bits: int) -> str:
    r"""ASCII characters as a regex would write them: `a`, `[0-9]`, `[^/]`, `…` for those beyond ASCII."""
    if not bits:
        return "…"
    outside = ALL_ASCII & ~bits
    if bits.bit_count() > 64:
        return "any" if not outside else f"[^{_ranges(outside)}]"
    text = _ranges(bits)
    return text if bits.bit_count() == 1 else f"[{text}]"


def _ranges(bits: int) -> str:
    parts = []
    codepoint = 0
    while codepoint < 128:
        if bits >> codepoint & 1:
            last = codepoint
            while last < 127 and bits >> (last + 1) & 1:
                last += 1
            first_text, last_text = describe_member(op.LITERAL, codepoint), describe_member(op.LITERAL, last)
            parts.append(first_text if last == codepoint else f"{first_text}-{last_text}")
            codepoint = last
        codepoint += 1
    return "".join(parts)


def _contract(nodes: list[_Node], node: _Node) -> None:
    """Makes a chain of single characters one edge."""
    incoming: dict[int, int] = {}
    for other in nodes:
        for _, to in other.edges:
            incoming[to] = incoming.get(to, 0) + 1
    for place, (label, to) in enumerate(node.edges):
        while not label.startswith("["):
            following = nodes[to]
            if following.verdict or following.loops or len(following.edges) != 1 or incoming[to] != 1:
                break
            more, beyond = following.edges[0]
            if more.startswith(("[", "any", "…")) or label in ("any", "…"):
                break
            label, to = label + more, beyond
            following.edges = []
        node.edges[place] = label, to


def _place(nodes: list[_Node], number: int, x: float, next_row: list[float]) -> None:
    """Sets x and y: a tree from left to right, one row for each leaf."""
    node = nodes[number]
    node.x, node.y = x, next_row[0]
    rows = []
    for label, to in node.edges:
        if nodes[to].y < 0:
            _place(
                nodes,
                to,
                x + 44 + _CHARACTER * max(len(label), (_loop_width(nodes[to]) + _loop_width(node)) / 2),
                next_row,
            )
            rows.append(nodes[to].y)
    if rows:
        node.y = (rows[0] + rows[-1]) / 2
    else:
        next_row[0] += _ROW


def _loop_width(node: _Node) -> int:
    return max((len(label) for label in node.loops), default=0)


def _render(nodes: list[_Node]) -> str:
    drawn = [node for node in nodes if node.y >= 0]
    width = max(node.x + _CHARACTER * max(len(node.verdict) + 4, _loop_width(node) / 2) for node in drawn) + _MARGIN + 8
    height = max(node.y for node in drawn) + _ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img"'
        f' aria-label="The states of the router for this table"><style>{_STYLE}</style>'
    ]
    for node in drawn:
        parts += _render_edges(nodes, node)
    for node in drawn:
        parts.append(f'<circle cx="{node.x:.1f}" cy="{node.y:.1f}" r="{_RADIUS}"/>')
        if node.verdict:
            width = len(node.verdict) * _CHARACTER + 8
            x, y = max(2.0, node.x - width + _RADIUS), node.y + _RADIUS + 4
            if not node.edges:
                x, y = node.x + _RADIUS + 6, node.y - 9
            parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" rx="4" width="{width:.1f}" height="18"/>')
            parts.append(f'<text class="wins" x="{x + 4:.1f}" y="{y + 13:.1f}">{escape(node.verdict)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _render_edges(nodes: list[_Node], node: _Node) -> list[str]:
    parts = []
    for label, to in node.edges:
        other = nodes[to]
        x, end = node.x + _RADIUS, other.x - _RADIUS
        if other.x <= node.x:
            curve = f"M{node.x:.1f} {node.y:.1f} Q{(node.x + other.x) / 2:.1f} {max(node.y, other.y) + 26:.1f}"
            parts.append(f'<path d="{curve} {other.x:.1f} {other.y:.1f}"/>')
            place = (node.x + other.x) / 2, max(node.y, other.y) + 20
        else:
            middle = x + 16
            parts.append(f'<path d="M{x:.1f} {node.y:.1f} L{middle:.1f} {other.y:.1f} L{end:.1f} {other.y:.1f}"/>')
            place = middle + 4, other.y - 5
        parts.append(f'<text x="{place[0]:.1f}" y="{place[1]:.1f}">{escape(label)}</text>')
    if node.loops:
        x, y = node.x, node.y - _RADIUS
        parts.append(
            f'<path d="M{x - 5:.1f} {y:.1f} C{x - 16:.1f} {y - 16:.1f} {x + 16:.1f} {y - 16:.1f} {x + 5:.1f} {y:.1f}"/>'
        )
        label = escape(" ".join(node.loops))
        parts.append(f'<text x="{x:.1f}" y="{y - 16:.1f}" text-anchor="middle">{label}</text>')
    return parts
