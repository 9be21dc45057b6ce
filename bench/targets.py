"""What was to be reached, what a run reached, and where it did not, why: arithmetic with the run's own figures.

A target compares one figure of ours with another server's of the same section, or with a number. Where both have
figures of the same rounds, the ratio is the median of the rounds' ratios, so that what slowed a whole round does not
count. Each has the floor where there is one: what is asked for and lies above it cannot be had on that machine by any
server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from measuring import spread

Results = dict[str, dict[str, Any]]


class Measured(float):
    """A figure, and those of its rounds where they are kept."""

    rounds: tuple[float, ...]

    def __new__(cls, value: float, rounds: Sequence[float] = ()) -> Measured:
        """`value` with what it is the median of."""
        self = super().__new__(cls, value)
        self.rounds = tuple(rounds)
        return self


Figure = Callable[[Results], Measured | None]


def _row(results: Results, section: str, name: str) -> dict[str, Any]:
    rows = results.get(section, {}).get("rows", [])
    return next((row for row in rows if row["name"] == name), {})


def _measured(summary: dict[str, Any] | None, key: str) -> Measured | None:
    return Measured(summary[key], summary.get("rounds", ())) if summary else None


def ratio(one: Measured, other: Measured) -> tuple[float, str]:
    """One by the other, round by round where that is known; and its spread as text, "" where it is not."""
    if not one.rounds or len(one.rounds) != len(other.rounds) or not all(other.rounds):
        return one / other, ""
    ratios = [mine / theirs for mine, theirs in zip(one.rounds, other.rounds, strict=True)]
    return median(ratios), f" ± {spread(ratios) * 100:.0f} %"


def rate(name: str, mode: str) -> Figure:
    """Requests per second of the small page."""
    return lambda results: _measured(_row(results, "hello", name).get(mode), "requests_per_second")


def moved(kind: str, *names: str) -> Figure:
    """MB/s of a large body; of several servers, the fastest."""

    def figure(results: Results) -> Measured | None:
        found = [_measured(_row(results, "transfer", name).get(kind), "mb_per_second") for name in names]
        return max((value for value in found if value is not None), default=None)

    return figure


def backend_cpu(front: str, *names: str) -> Figure:
    """Microseconds of processor time for a request behind a front end; of several servers, the least."""

    def figure(results: Results) -> Measured | None:
        found = [_measured(_row(results, "frontends", name).get(front), "cpu_us") for name in names]
        return min((value for value in found if value is not None), default=None)

    return figure


def remote(column: str, ours: bool) -> Figure:
    """Of remote calls behind nginx a column of ours, or the best of the others'."""

    def figure(results: Results) -> Measured | None:
        found = [
            Measured(row[column])
            for row in results.get("rpc", {}).get("rows", [])
            if not row["bare"] and row["name"].startswith("fastcore") is ours and row[column]
        ]
        best = min if column.endswith("_us") else max
        return best(found, default=None)

    return figure


def beside_streams(column: str) -> Figure:
    """How a column of a call's changes where its worker has 200 idle streams, with the usual heartbeat."""

    def figure(results: Results) -> Measured | None:
        found = _row(results, "streams", "fastcore-streams").get(column)
        return Measured(found["ratio"]) if found else None

    return figure


def memory(name: str, further: bool = False) -> Figure:
    """MB of PSS of a server with one worker, or of each further worker."""

    def figure(results: Results) -> Measured | None:
        row = _row(results, "memory", name)
        size = row.get("further") if further else row.get("workers", {}).get("1", {}).get("pss")
        return None if size is None else Measured(size / 1e6)

    return figure


def bare_memory(results: Results) -> float | None:
    """MB of PSS of the interpreter alone."""
    size = results.get("memory", {}).get("bare", {}).get("pss")
    return None if size is None else float(size) / 1e6


@dataclass(frozen=True)
class Target:
    """`ours` is to be `factor` times `other` at least; or, where `least` is set, at most `other` divided by `factor`.

    Without `other`, `ours` is to be `factor` at most.
    """

    case: str
    wanted: str
    ours: Figure
    factor: float
    other: Figure | None = None
    floor: Figure | None = None
    least: bool = False
    unit: str = "/s"
    why: str = ""

    def judge(self, results: Results) -> tuple[str, bool | None, str]:
        """What was reached, as text; whether that is enough, None where it was not measured; why not, or ""."""
        ours = self.ours(results)
        other = self.other(results) if self.other else None
        if ours is None or (self.other and not other):
            return "not measured", None, ""
        if other is None:
            reached = ours <= self.factor
            return f"{ours:.2f} {self.unit}", reached, "" if reached else self._why_larger(results, ours)
        if self.least:
            found, give_or_take = ratio(other, ours) if ours else (0.0, "")
            text = f"{found:.2f} ×{give_or_take} less ({ours:.1f} to {other:.1f} {self.unit})"
            return text, found >= self.factor, "" if found >= self.factor else self._why_more(ours, other)
        found, give_or_take = ratio(ours, other)
        text = f"{found:.2f} ×{give_or_take} ({ours:,.0f} to {other:,.0f} {self.unit})"
        return text, found >= self.factor, "" if found >= self.factor else self._why_slower(results, ours, other)

    def _why_larger(self, results: Results, ours: float) -> str:
        floor = self.floor(results) if self.floor else None
        if not floor:
            return self.why
        return (
            f"the interpreter alone, measured in the same way in the same run, has {floor:.2f} {self.unit}; "
            f"ours is {ours - floor:.2f} {self.unit} above it. {self.why}"
        ).strip()

    def _why_slower(self, results: Results, ours: float, other: float) -> str:
        needed = self.factor * other
        asked = f"{self.factor:g} × {other:,.0f} = {needed:,.0f} {self.unit}"
        floor = self.floor(results) if self.floor else None
        if floor and needed > floor:
            return (
                f"{asked} is above the C floor of the same run, {floor:,.0f} {self.unit}, which is itself "
                f"{floor / other:.1f} × that server: no responder on this machine reaches it. "
                f"Ours is at {ours / floor:.2f} of the floor. {self.why}"
            ).strip()
        beside = f", {ours / floor:.2f} of the floor's {floor:,.0f}" if floor else ""
        return f"{asked} was to be reached; ours is {ours:,.0f}{beside}. {self.why}".strip()

    def _why_more(self, ours: float, other: float) -> str:
        return (
            f"at most {other / self.factor:.1f} {self.unit} was to be reached; ours is {ours:.1f}. {self.why}".strip()
        )


_WSGI, _NATIVE, _PURE = "fastcore-compiled-wsgi", "fastcore-compiled-native", "fastcore-pure-wsgi"
_STREAMED = f"{_WSGI}-streamed"
_FLUPS = ("flup-prefork", "flup-threaded")
_UWSGIS = ("uwsgi", "uwsgi-own")
_KEPT, _EACH = rate("floor", "kept"), rate("floor", "each")
_LOAD = "Most of a request with a connection each is the kernel's work of opening and closing it, the same for all."
_SAME_CALLS = (
    "Both make the same two calls of the system for a request, one recv() and one send(); the difference is what the "
    "floor leaves out: reading the parameters, the request as a Python object, the application's call, the checked "
    "head. No part of it stands out: see the instructions below."
)
_COPY = (
    "Both move the same bytes through the same kernel, one copy into the socket and one out of it; the receiver's is "
    "not ours to save."
)


def _hello_targets() -> list[Target]:
    kept, each = "hello, kept alive", "hello, a connection each"
    wsgi, native, wsgi_each, native_each = (
        rate(_WSGI, "kept"),
        rate(_NATIVE, "kept"),
        rate(_WSGI, "each"),
        rate(_NATIVE, "each"),
    )
    threaded, gevent = rate("flup-threaded", "kept"), rate("gevent-fastcgi", "kept")
    uwsgi = rate("uwsgi", "each")
    return [
        Target(f"WSGI {kept}", "≥ 0.55 × floor", wsgi, 0.55, _KEPT, _KEPT),
        Target(f"WSGI {kept}", "≥ 25 × flup threaded", wsgi, 25, threaded, _KEPT),
        Target(f"WSGI {kept}", "≥ 10 × gevent-fastcgi", wsgi, 10, gevent, _KEPT),
        Target(f"native {kept}", "≥ 0.80 × floor", native, 0.80, _KEPT, _KEPT, why=_SAME_CALLS),
        Target(f"WSGI {each}", "≥ 1.25 × uWSGI", wsgi_each, 1.25, uwsgi, _EACH, why=_LOAD),
        Target(f"WSGI {each}", "≥ 0.70 × floor", wsgi_each, 0.70, _EACH, _EACH, why=_LOAD),
        Target(f"native {each}", "≥ 1.5 × uWSGI", native_each, 1.5, uwsgi, _EACH, why=_LOAD),
        Target(f"native {each}", "≥ 0.85 × floor", native_each, 0.85, _EACH, _EACH, why=_LOAD),
        Target("compiled over pure twin, WSGI hello", "≥ 12 ×", wsgi, 12, rate(_PURE, "kept"), _KEPT),
    ]


def _transfer_targets() -> list[Target]:
    targets = []
    kinds = (
        ("upload read by the application", "up", "up"),
        ("streamed out from an iterator", "blocks", "blocks"),
        ("streamed out from a file", "file", "file"),
    )
    for text, kind, floor in kinds:
        ours = moved(kind, _STREAMED, _WSGI)
        for wanted, factor, others in (("≥ 10 × flup", 10, _FLUPS), ("≥ 1.5 × uWSGI", 1.5, ("uwsgi",))):
            other = moved(kind, *others)
            targets.append(
                Target(f"1 GiB {text}", wanted, ours, factor, other, moved(floor, "floor"), unit="MB/s", why=_COPY)
            )
    return targets


def _front_targets() -> list[Target]:
    targets = []
    for front in ("nginx", "lighttpd"):
        for interface, name in (("WSGI", _WSGI), ("native", _NATIVE)):
            case, ours = f"back end's CPU for a request behind {front}, {interface}", backend_cpu(front, name)
            uwsgi, bjoern = backend_cpu(front, *_UWSGIS), backend_cpu(front, "bjoern")
            targets.append(Target(case, "uWSGI's ≥ 1.3 ×", ours, 1.3, uwsgi, least=True, unit="µs"))
            if front == "nginx":
                targets.append(Target(case, "less than bjoern's", ours, 1, bjoern, least=True, unit="µs"))
    return targets


TARGETS = [
    *_hello_targets(),
    *_transfer_targets(),
    *(
        Target(
            f"PSS of a hello worker, {interface}",
            "≤ 8 MB",
            memory(name),
            8,
            floor=bare_memory,
            unit="MB",
            why="See what importing costs, below.",
        )
        for interface, name in (("WSGI", _WSGI), ("native", _NATIVE))
    ),
    *(
        Target(f"PSS of each further worker, {interface}", "≤ 2 MB", memory(name, further=True), 2, unit="MB")
        for interface, name in (("WSGI", _WSGI), ("native", _NATIVE))
    ),
    *_front_targets(),
    Target(
        "remote calls: back end's CPU for a call behind nginx",
        "best other's ≥ 5 ×",
        remote("cpu_us", True),
        5,
        remote("cpu_us", False),
        least=True,
        unit="µs",
    ),
    Target(
        "remote calls behind nginx",
        "≥ 5 × the best other",
        remote("requests_per_second", True),
        5,
        remote("requests_per_second", False),
        lambda results: results.get("rpc", {}).get("nginx_limit"),
        why="nginx and the load generator share a processor, and limit the rate; the processor time above does not.",
    ),
    *(
        Target(
            f"remote calls beside 200 idle streams, {column.partition('_')[0]}",
            "≤ 1.05 × without them",
            beside_streams(column),
            1.05,
            unit="×",
        )
        for column in ("p50_us", "p99_us")
    ),
]


def render(results: Results) -> str:
    """The targets as a Markdown table, and below it why some were not reached."""
    lines, reasons = ["| case | to reach | reached | |", "|---|---|---|---|"], []
    for target in TARGETS:
        text, enough, why = target.judge(results)
        verdict = "–" if enough is None else "yes" if enough else "**no**"
        if why:
            reasons.append(f"{len(reasons) + 1}. *{target.case}, {target.wanted}*: {why}")
            verdict += f" ({len(reasons)})"
        lines.append(f"| {target.case} | {target.wanted} | {text} | {verdict} |")
    return "\n".join([*lines, "", *reasons]).strip()
