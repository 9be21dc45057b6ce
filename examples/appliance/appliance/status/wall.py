"""The wallboard: a few big figures for a screen on the wall, at the root of a host of its own (WALL_HOST).

That host has its own static folder, and the console's pages are not shown there.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from appliance import frame
from appliance.status import live, remote
from appliance.status.live import Live
from appliance.status.machine import sampler
from framework import HTTPError, Request, Response
from framework.xhtml import Document, Element

WALL_HOST = os.environ.get("WALL_HOST", "wall.localhost")
WALL_PATHS = ("/", "/rpc")
WALL_FILES = "/rpc/proxy."
REFRESH_SECONDS = "2"


def is_wall(request: Request) -> bool:
    """Whether the client asked for the wallboard's host."""
    return request.host.partition(":")[0] == WALL_HOST


def wall_only(request: Request, next: Callable[[Request], Response]) -> Response:
    """Middleware: on the wallboard's host there is the wallboard, and nothing else."""
    if is_wall(request) and request.path not in WALL_PATHS and not request.path.startswith(WALL_FILES):
        raise HTTPError(404, "This host shows the wallboard only.")
    return next(request)


def wallboard(request: Request) -> Document:
    """Processor, memory, disk and network, in figures that can be read from across the room."""
    now = live.overview(sampler)
    document = Document(title=f"{frame.host_name()} wallboard", lang="en")
    document.head.add_meta("color-scheme", "dark light")
    document.head.add_icon("/static/icon.svg", type="image/svg+xml")
    document.head.add_stylesheet("/static/wall.css")
    document.head.add_script_module("/static/wall.mjs")
    body = document.body
    body.set(data_rpc=remote.proxy.module_url(request), data_seconds=REFRESH_SECONDS)
    _add_head(body, now)
    board = body.add("main")
    for name, title, note in (
        ("cpu", "Processor", "load.one"),
        ("memory", "Memory", "memory.used"),
        ("disk", "Disk", "disk.note"),
    ):
        _add_figure(board, now, name, title, note)
    _add_network(board, now)
    foot = body.add("footer")
    foot.add_paragraph("Shown by user ", Element("strong", frame.user()), f", process {os.getpid()}")
    foot.add_paragraph(Element("a", "Console", href=_console(request)))
    return document


def _console(request: Request) -> str:
    """The console is on another host, so this is a whole URL."""
    return request.get_url("notes:index")


def _add_head(body: Element, now: Live) -> None:
    head = body.add("header")
    head.add_heading(1, frame.host_name())
    state = head.add("p", class_="state", data_state_of="health.state")
    state.set(data_state=now.texts["health.state"])
    state.add("span", now.texts["health"], data_text="health")
    head.add("p", now.texts["time"], class_="clock", data_text="time")


def _add_figure(board: Element, now: Live, name: str, title: str, note: str) -> None:
    card = board.add_section(title)
    card.add("p", now.texts[name], class_="figure", data_text=name)
    line = card.add("p", "Load " if note == "load.one" else None, class_="note")
    line.add("span", now.texts[note], data_text=note)
    if name in now.charts:
        frame.add_chart(card, name, now.charts[name])
    else:
        frame.add_bar(card, name, now.bars[name])


def _add_network(board: Element, now: Live) -> None:
    card = board.add_section("Network")
    for name, word, key in (("received", "in", "first"), ("sent", "out", "second")):
        line = card.add("p", class_="figure two")
        line.add("span", now.texts[name], data_text=name)
        line.add("small", Element("span", class_=f"key {key}", aria_hidden=True), word)
    frame.add_chart(card, "network", now.charts["network"])
