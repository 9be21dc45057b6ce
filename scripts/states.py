"""Draws the states of a request into docs/states.md and docs/images/states.svg, by asking a connection.

    python scripts/states.py

Nothing is written down here about what follows what: a connection of one twin is led into each state that can be
reached, and given everything that may come there. Two states are the same if they answer everything the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from fastcore import constants, implementation
from fastcore.errors import ProtocolError
from fastcore.limits import Limits
from fastcore.pure import connection as specification
from fastcore.pure.records import build_pairs, build_record

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "states.md"
DRAWING = ROOT / "docs" / "images" / "states.svg"

ID = 1
LIMITS = Limits(params_bytes=300, body=1000)
ROLES = {"responder": constants.RESPONDER, "authorizer": constants.AUTHORIZER, "filter": constants.FILTER}
RECORDS = {getattr(constants, name): name for name in ("END_REQUEST", "STDOUT", "STDERR", "UNKNOWN_TYPE")}
PROTOCOL_STATUS = {
    getattr(constants, name): name for name in ("REQUEST_COMPLETE", "CANT_MPX_CONN", "OVERLOADED", "UNKNOWN_ROLE")
}
STATES = {
    value: name
    for name, value in vars(specification).items()
    if name in ("READING_PARAMS", "READING_BODY", "READING_DATA", "COMPLETE", "REFUSED")
}
PHASES = {getattr(specification, name): name for name in ("IDLE", "PHASE_PARAMS", "PHASE_BODY", "ANSWERING")}

Act = Callable[[Any], list[Any]]


def record(kind: int, content: bytes = b"") -> bytes:
    return build_record(kind, ID, content)


def params(*pairs: tuple[bytes, bytes]) -> bytes:
    return record(constants.PARAMS, build_pairs(pairs)) + record(constants.PARAMS)


def comes(data: bytes) -> Act:
    return lambda connection: list(connection.receive_data(data))


def begin(role: int) -> Act:
    return comes(record(constants.BEGIN_REQUEST, bytes((0, role, constants.KEEP_CONN)) + bytes(5)))


def ends(connection: Any) -> list[Any]:
    if connection.is_active(ID):
        connection.end_request(ID)
    return []


def breaks_off(connection: Any) -> list[Any]:
    if connection.is_active(ID):
        connection.break_off(ID)
    return []


def waits_too_long(connection: Any) -> list[Any]:
    connection.refuse_bodies(408)
    return list(connection.receive_data(b""))


METHOD = (b"REQUEST_METHOD", b"POST")
FILE = (b"FCGI_DATA_LENGTH", b"4")
INPUTS: dict[str, Act] = {
    **{f"BEGIN_REQUEST, {name}": begin(role) for name, role in ROLES.items()},
    "BEGIN_REQUEST, another role": begin(99),
    "PARAMS": comes(record(constants.PARAMS, build_pairs([(b"A", b"b")]))),
    "PARAMS over the limit": comes(record(constants.PARAMS, build_pairs([(b"A", b"b" * 400)]))),
    "end of PARAMS, no body": comes(params((b"CONTENT_LENGTH", b"0"), FILE)),
    "end of PARAMS, a body": comes(params(METHOD, (b"CONTENT_LENGTH", b"4"), FILE)),
    "end of PARAMS, bad length": comes(params(METHOD, (b"CONTENT_LENGTH", b"4,4"), FILE)),
    "STDIN": comes(record(constants.STDIN, b"a")),
    "STDIN to CONTENT_LENGTH": comes(record(constants.STDIN, b"abcd")),
    "end of STDIN": comes(record(constants.STDIN)),
    "DATA": comes(record(constants.DATA, b"a")),
    "DATA over the limit": comes(record(constants.DATA, bytes(1001))),
    "end of DATA": comes(record(constants.DATA)),
    "ABORT_REQUEST": comes(record(constants.ABORT_REQUEST)),
    "a record of another type": comes(record(200, b"a")),
    "`end_request()`": ends,
    "`break_off()`": breaks_off,
    "`refuse_bodies()`": waits_too_long,
}


class Outcome(NamedTuple):
    """What one input does in one state: whether it is an error, the events, the records sent, the phase then."""

    failed: bool
    events: tuple[str, ...]
    sent: tuple[str, ...]
    active: bool
    phase: int


# Where the drawing has them, from left to right, and the table's columns likewise.
COLUMN = {
    "new connection": 0,
    "no request": 0,
    "READING_PARAMS": 1,
    "READING_BODY": 2,
    "READING_DATA": 3,
    "COMPLETE": 4,
    "REFUSED": 4,
    "broken off": 4,
}


class State(NamedTuple):
    """A state: how to get there, what it is called, the connection's phase in it, and its place in the drawing."""

    way: tuple[str, ...]
    name: str
    phase: str
    column: int


class Machine(NamedTuple):
    """All states, in the order found, and what each input does in each: the outcome and the next state's index."""

    states: tuple[State, ...]
    table: dict[tuple[int, str], tuple[Outcome, int]]


def sent(data: bytes) -> tuple[str, ...]:
    """The records of some output, by name."""
    names = []
    while data:
        if data[0] != constants.VERSION_1:
            return (*names, "bytes that are no record")
        length = int.from_bytes(data[4:6], "big")
        name = RECORDS[data[1]] if length or data[1] not in (constants.STDOUT, constants.STDERR) else ""
        if data[1] == constants.END_REQUEST:
            name += f" ({PROTOCOL_STATUS[data[12]]})"
        names += [name] if name else []
        data = data[8 + length + data[6] :]
    return tuple(names)


def led(twin: Any, way: tuple[str, ...]) -> Any:
    """A connection after these inputs, its output taken away."""
    connection = twin.connection.Connection(LIMITS, roles=tuple(ROLES.values()))
    for name in way:
        INPUTS[name](connection)
    connection.data_to_send()
    return connection


def outcome(twin: Any, way: tuple[str, ...], name: str) -> Outcome:
    connection = led(twin, way)
    try:
        events = INPUTS[name](connection)
    except ProtocolError:
        return Outcome(True, (), (), False, connection.phase)
    names = tuple(type(event).__name__ for event in events)
    return Outcome(False, names, sent(connection.data_to_send()), connection.is_active(ID), connection.phase)


def behaviour(twin: Any, way: tuple[str, ...]) -> tuple[Any, ...]:
    """What tells a state from others: its phase, and what everything that may come does in it."""
    return (led(twin, way).phase, *(outcome(twin, way, name) for name in INPUTS))


def name_of(way: tuple[str, ...]) -> str:
    """The specification's own name of a state, with the role that it belongs to."""
    connection = led(implementation.twin("pure"), way)
    inbound = connection._inbound.get(ID)
    if connection.failed:
        return "broken off"
    if inbound is None:
        return "no request" if way else "new connection"
    return STATES[inbound.state]


def explore(twin: Any) -> Machine:
    """All states of a request on a connection of this twin."""
    ways: list[tuple[str, ...]] = [()]
    known = {behaviour(twin, ()): 0}
    table: dict[tuple[int, str], tuple[Outcome, int]] = {}
    for index, way in enumerate(ways):  # grows while it is walked
        for name in INPUTS:
            found = outcome(twin, way, name)
            following = index
            if not found.failed:
                there = behaviour(twin, (*way, name))
                following = known.setdefault(there, len(ways))
                if following == len(ways):
                    ways.append((*way, name))
            table[index, name] = found, following
    names = [name_of(way) for way in ways]
    states = [
        State(
            way,
            f"{name}, {way[0].rpartition(', ')[2]}" if names.count(name) > 1 else name,
            PHASES[led(twin, way).phase],
            COLUMN[name],
        )
        for way, name in zip(ways, names, strict=True)
    ]
    order = sorted(range(len(ways)), key=lambda index: (states[index].column, index))
    place = {index: order.index(index) for index in order}
    moved = {(place[index], name): (found, place[to]) for (index, name), (found, to) in table.items()}
    return Machine(tuple(states[index] for index in order), moved)


def cell(machine: Machine, index: int, name: str) -> str:
    """One cell of the table: what is sent and told, and where it leads."""
    found, following = machine.table[index, name]
    if found.failed:
        return "error"
    words = [f"sends {record}" for record in found.sent] + list(found.events)
    if following != index:
        words.append(f"**→ {machine.states[following].name}**")
    return "; ".join(words) or "–"


def document(machine: Machine) -> str:
    """The text of docs/states.md."""
    parts = [
        "# States of a request",
        "",
        "Drawn by `python scripts/states.py`, which asks a connection and knows nothing itself. Both twins give this",
        "table (`tests/twins/test_states_documented.py`).",
        "",
        "![the states and what leads from one to the next](images/states.svg)",
        "",
        "A cell says what the connection sends, which events its owner gets ([sans-io.md](sans-io.md)), and, after the",
        'arrow, the next state. "–": nothing happens. "error": ProtocolError, the connection is closed. The phase',
        "chooses the time-out ([limits.md](limits.md)): PHASE_PARAMS `header_timeout`, PHASE_BODY `body_timeout`, IDLE",
        "`idle_timeout`; while ANSWERING, the peer waits for us.",
        "",
        "| comes | " + " | ".join(state.name for state in machine.states) + " |",
        "|---" * (len(machine.states) + 1) + "|",
        "| *phase* | " + " | ".join(f"*{state.phase}*" for state in machine.states) + " |",
    ]
    for name in INPUTS:
        cells = " | ".join(cell(machine, index, name) for index in range(len(machine.states)))
        parts.append(f"| {name} | {cells} |")
    return "\n".join(parts) + "\n"


WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 180, 46, 140, 74, 24
LINE = 16  # pixels of a line of the notes
ROW = {"new connection": 0, "no request": 1, "READING_DATA": 2, "COMPLETE": 1, "REFUSED": 2, "broken off": 3}


def drawing(machine: Machine) -> str:
    """The same as SVG: what leads on. What ends or refuses a request from several states is said below in words."""
    names = [state.name for state in machine.states]
    requests = sum(name.startswith(tuple(STATES.values())) for name in names)
    rows = [ROW.get(name, list(ROLES).index(name.rpartition(", ")[2]) if ", " in name else 0) for name in names]
    places = [
        (MARGIN + state.column * (WIDTH + GAP_X), 3 * MARGIN + row * (HEIGHT + GAP_Y))
        for state, row in zip(machine.states, rows, strict=True)
    ]
    edges: dict[tuple[int, int], list[str]] = {}
    said: dict[str, dict[str, list[str]]] = {"no request": {}, "REFUSED": {}, "broken off": {}}
    for (index, name), (found, following) in machine.table.items():
        if found.failed or following == index:
            continue
        if names[following] in said:
            said[names[following]].setdefault(name.replace("`", ""), []).append(names[index])
        else:
            edges.setdefault((index, following), []).append(name)
    ends_drawn: set[tuple[int, str]] = set()
    for (index, following), labels in sorted(edges.items(), reverse=True):
        if machine.states[index].column == 0:  # what begins a request does so from two states: said once
            labels[:] = [label for label in labels if (following, label) not in ends_drawn]
            ends_drawn |= {(following, label) for label in labels}
    shapes = [_edge(places[one], places[other], labels) for (one, other), labels in edges.items()]
    shapes += [_box(place, state) for place, state in zip(places, machine.states, strict=True)]
    notes = [line for name, causes in said.items() for line in _notes(name, causes, names, requests)]
    right = max(x for x, _ in places) + WIDTH + MARGIN
    top = max(y for _, y in places) + HEIGHT + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {top + LINE * len(notes)}" '
            'font-family="sans-serif">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 L8 4 L0 8 z" fill="#567"/></marker></defs>',
            f'<rect width="{right}" height="{top + LINE * len(notes)}" fill="#fff"/>',
            *shapes,
            *(
                f'<text x="{MARGIN}" y="{top + LINE * number}" font-size="12" fill="#234">{note}</text>'
                for number, note in enumerate(notes)
            ),
            "</svg>",
            "",
        ]
    )


def _notes(name: str, causes: dict[str, list[str]], names: list[str], count: int) -> list[str]:
    """`→ REFUSED: DATA over the limit (from READING_DATA)`: inputs with the same origins are put together."""
    together: dict[tuple[str, ...], list[str]] = {}
    for cause, origins in causes.items():
        together.setdefault(tuple(sorted(origins, key=names.index)), []).append(cause)
    notes = []
    for origins, inputs in together.items():
        requests = [origin for origin in origins if origin != "new connection"]
        whence = "every request" if len(requests) == count else "; ".join(requests)
        if requests:
            notes.append(f"→ {name}: {', '.join(inputs)} (from {whence})")
    return notes + [f"→ {name}: any other record (from new connection)"] * any("new connection" in o for o in together)


def _box(place: tuple[int, int], state: State) -> str:
    x, y = place
    middle = x + WIDTH // 2
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="#eef3f8" stroke="#345"/>'
        f'<text x="{middle}" y="{y + 20}" font-size="12" text-anchor="middle" fill="#123">{state.name}</text>'
        f'<text x="{middle}" y="{y + 36}" font-size="10" text-anchor="middle" fill="#567">{state.phase}</text>'
    )


def _edge(one: tuple[int, int], other: tuple[int, int], labels: list[str]) -> str:
    """A curve; one that would cross boxes of its own row is bent over them."""
    (x1, y1), (x2, y2) = one, other
    start_x, start_y, end_x, end_y = x1 + WIDTH, y1 + HEIGHT // 2, x2, y2 + HEIGHT // 2
    bend = (end_x - start_x) // 2
    lift = 112 if x2 - x1 > WIDTH + GAP_X else 0
    path = f"M{start_x} {start_y} C{start_x + bend} {start_y - lift} {end_x - bend} {end_y - lift} {end_x} {end_y}"
    label_x, label_y = start_x + GAP_X // 2, start_y - 3 - lift // 4
    if not lift and y1 != y2:
        label_x, label_y = end_x - 60, end_y + (-9 if y2 > y1 else 16)
    texts = "".join(
        f'<text x="{label_x}" y="{label_y - 11 * number}" font-size="10" text-anchor="middle" fill="#234" '
        f'stroke="#fff" stroke-width="3" paint-order="stroke">{label}</text>'
        for number, label in enumerate(reversed(labels))
    )
    return f'<path d="{path}" fill="none" stroke="#89a" marker-end="url(#tip)"/>{texts}'


def main() -> int:
    """Write the document and the drawing."""
    machine = explore(implementation.twin("pure"))
    DOCUMENT.write_text(document(machine), "utf-8")
    DRAWING.write_text(drawing(machine), "utf-8")
    print(f"wrote {DOCUMENT.relative_to(ROOT)} and {DRAWING.relative_to(ROOT)}: {len(machine.states)} states")
    return 0


if __name__ == "__main__":
    sys.exit(main())
