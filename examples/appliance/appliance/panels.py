"""Panels that both back ends show: who runs what, and what a part may not do."""

from __future__ import annotations

from collections.abc import Sequence

from appliance import units
from appliance.attempts import Attempt
from appliance.frame import add_table_place
from appliance.parts import Part
from framework.xhtml import Column, Element

VERDICTS = {False: ("Refused", "badge good"), True: ("Allowed", "badge bad"), None: ("Not tried", "badge")}


def add_parts(card: Element, parts: Sequence[Part]) -> None:
    """The processes of the site with their users; the one that made the page is marked."""
    card.add_paragraph(_separation(parts), class_="soft")
    add_table_place(card, "Processes of this site").add_table(
        parts,
        columns=[
            Column(_titled, "Part", header=True),
            Column("user", "User"),
            Column("uid", "uid", class_="right"),
            Column("pid", "pid", class_="right"),
            Column("memory", "Memory", render=units.size, class_="right optional"),
        ],
        row_class=lambda part: "here" if part.here else None,
    )


def add_attempts(card: Element, me: str, attempts: Sequence[Attempt]) -> None:
    """What was tried and what the kernel answered."""
    card.add_paragraph(f"The kernel refused {count_refused(attempts)} of {me} made just now.", class_="soft")
    add_table_place(card, "Attempts and answers").add_table(
        attempts,
        columns=[
            Column("what", "Attempt", header=True),
            Column(lambda attempt: Element("code", attempt.target), "On", class_="optional"),
            Column(_verdict, "Result"),
            Column("answer", "Answer"),
        ],
    )


def count_refused(attempts: Sequence[Attempt]) -> str:
    """How many of those that could be made: "8 of 8 attempts"."""
    tried = [attempt for attempt in attempts if attempt.allowed is not None]
    return f"{sum(not attempt.allowed for attempt in tried)} of {len(tried)} attempts"


def _titled(part: Part) -> list[object]:
    return [part.title, part.here and [" ", Element("span", "this page", class_="badge")]]


def _verdict(attempt: Attempt) -> Element:
    word, class_ = VERDICTS[attempt.allowed]
    return Element("span", word, class_=class_)


def _separation(parts: Sequence[Part]) -> str:
    if len(parts) <= 1:
        return "Other users' processes are hidden from this one."
    if len({part.uid for part in parts}) == 1:
        return (
            f"All parts run as {parts[0].user}: nothing separates them. Started by root, each gets a user of its own."
        )
    if len({part.uid for part in parts}) < len(parts):  # `sitectl dev` by root
        return "Parts with the same user are not separated from each other, as the kernel shows them."
    return "Each part is a process of its own with a user of its own, as the kernel shows them."
