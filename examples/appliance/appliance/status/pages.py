"""The pages of `status`: overview, processes, privileges. Each shows the figures of the moment it is loaded."""

from __future__ import annotations

import json
import os

from appliance import frame, parts, units
from appliance.panels import add_attempts, add_parts
from appliance.status import live, remote
from appliance.status.live import Live
from appliance.status.machine import machine, sampler
from appliance.status.tables import COLUMNS, DESCENDING, Order, process_rows
from appliance.status.wall import is_wall, wallboard
from framework import Request
from framework.xhtml import Column, Document, Element

REFRESH_SECONDS = "2"
FEW, MANY = 25, 200


def overview(request: Request) -> Document:
    """The machine at a glance; on the wallboard's host, the wallboard."""
    if is_wall(request):
        return wallboard(request)
    rpc = remote.proxy.module_url(request)
    document, main = frame.page(
        request, "Overview", "status:overview", rpc=rpc, call="overview", seconds=REFRESH_SECONDS
    )
    now = live.overview(sampler)
    note = f"{machine.system()} · Linux {os.uname().release} · {machine.processor()}"
    frame.add_live_sign(frame.add_title(main, "Overview", note))
    _add_health(main, now)
    tiles = main.add("div", class_="grid")
    _add_processor(tiles, now)
    _add_memory(tiles, now)
    _add_network(tiles, now)
    _add_time(tiles, now)
    grid = main.add("div", class_="grid wide")
    _add_disks(grid, now)
    _add_cores(grid, now)
    _add_interfaces(grid, now)
    _add_temperatures(grid, now)
    add_parts(frame.add_card(main, "Who runs what"), parts.find(machine))
    return document


def processes(request: Request) -> Document:
    """The table of processes, sorted by ?sort=; ?rows= says how many."""
    order = _order(request.query.get("sort", ""))
    limit = MANY if request.query.get("rows") == str(MANY) else FEW
    document, main = frame.page(
        request, "Processes", "status:processes", rpc=remote.proxy.module_url(request), call="processes",
        arguments=json.dumps([order.value, limit]), seconds=REFRESH_SECONDS,
    )  # fmt: skip
    rows, count = process_rows(sampler, order, limit)
    frame.add_live_sign(frame.add_title(main, "Processes", "What runs, and what it uses of one processor."))
    card = main.add("div", class_="card")
    here = request.get_url("status:processes")
    shown = f" processes are visible to user {frame.user()}. The first {limit} by {_title(order)} are shown."
    card.add_paragraph(Element("span", str(count), data_text="count"), shown, class_="soft")
    table = frame.add_table_place(card, "Processes").add_table(
        rows,
        columns=[Column(number, class_=class_) for number, (_, _, class_) in enumerate(COLUMNS)],
        headings=[_sort_link(title, key, here, limit) for title, key, _ in COLUMNS],
    )
    _mark_order(table, order)
    other = FEW if limit == MANY else MANY
    link = Element("a", f"Show the first {other}", href=f"{here}?sort={order.value}&rows={other}")
    card.add_paragraph(link, class_="actions no-print")
    return document


def privileges(request: Request) -> Document:
    """What this back end tried to do to the other one, and the kernel's answers."""
    document, main = frame.page(request, "Privileges", "status:privileges")
    frame.add_title(main, "Privileges", "Each part has the rights it needs. This page tries whether it has more.")
    found = parts.find(machine)
    add_parts(frame.add_card(main, "Who runs what"), found)
    card = frame.add_card(main, "What status may not do")
    add_attempts(card, f"status, as user {frame.identity()},", remote.attempts_on_notes(found))
    again = card.add("p", class_="actions no-print")
    again.button("Try again", class_="quiet").calls(remote.proxy.try_again)
    other = Element("a", "what notes may not do", href=request.get_url("notes:privileges"))
    card.add_paragraph("The other way round: ", other, ".", class_="after")
    return document


def _order(text: str) -> Order:
    try:
        return Order(text)
    except ValueError:
        return Order.CPU


def _title(order: Order) -> str:
    return next(title for title, key, _ in COLUMNS if key is order)


def _sort_link(title: str, order: Order | None, here: str, limit: int) -> object:
    return title if order is None else Element("a", title, href=f"{here}?sort={order.value}&rows={limit}")


def _mark_order(table: Element, order: Order) -> None:
    for head, (_, key, _) in zip(table.find_all("thead th"), COLUMNS, strict=True):
        if key is order:
            head.set(aria_sort="descending" if key in DESCENDING else "ascending")
    for body in table.find_all("tbody"):
        body.set(data_rows="processes")


def _text(now: Live, name: str, tag: str = "span", **attributes: str) -> Element:
    """An element whose text the script keeps up to date."""
    return Element(tag, now.texts[name], data_text=name, **attributes)


def _add_health(main: Element, now: Live) -> None:
    health = main.add("div", class_="health", data_state_of="health.state")
    health.set(data_state=now.texts["health.state"])
    health.append(_text(now, "health", "p"))


def _add_tile(tiles: Element, title: str) -> Element:
    return frame.add_card(tiles, title, class_="card tile")


def _add_processor(tiles: Element, now: Live) -> None:
    tile = _add_tile(tiles, "Processor")
    tile.append(_text(now, "cpu", "p", class_="figure"))
    loads = [[_text(now, f"load.{name}"), " "] for name in ("one", "five", "fifteen")]
    tile.add_paragraph("Load ", loads, class_="note")
    frame.add_chart(tile, "cpu", now.charts["cpu"])


def _add_memory(tiles: Element, now: Live) -> None:
    tile = _add_tile(tiles, "Memory")
    tile.append(_text(now, "memory", "p", class_="figure"))
    tile.add_paragraph(_text(now, "memory.used"), " of ", _text(now, "memory.total"), class_="note")
    frame.add_chart(tile, "memory", now.charts["memory"])


def _add_network(tiles: Element, now: Live) -> None:
    tile = _add_tile(tiles, "Network")
    for name, word, key in (("received", " in", "first"), ("sent", " out", "second")):
        mark = Element("span", class_=f"key {key}", aria_hidden=True)
        tile.add_paragraph(mark, _text(now, name), Element("small", word), class_="figure two")
    tile.add_paragraph("Scale to ", _text(now, "network.top"), class_="note")
    frame.add_chart(tile, "network", now.charts["network"])


def _add_time(tiles: Element, now: Live) -> None:
    tile = _add_tile(tiles, "Up since the last start")
    tile.append(_text(now, "uptime", "p", class_="figure"))
    tile.add_paragraph("The clock here says ", _text(now, "time"), class_="note")
    facts = (("Fullest disk", "disk"), ("Swap used", "swap"), ("Available", "memory.available"))
    tile.add_definition_list([(title, _text(now, name)) for title, name in facts], class_="facts rest")


def _add_meters(card: Element, now: Live, entries: list[tuple[str, str, str]]) -> None:
    """A list of bars: (label, what stands behind it, name of the figure)."""
    meters = card.add("ul", class_="meters")
    for label, note, name in entries:
        item = meters.add("li")
        item.add("span", label, Element("small", f" {note}"), class_="label")
        item.append(_text(now, name, class_="number"))
        frame.add_bar(item, name, now.bars[name])


def _add_disks(grid: Element, now: Live) -> None:
    card = frame.add_card(grid, "Disks")
    entries = [
        (disk.path, f"{units.size(disk.free)} free of {units.size(disk.total)}, {disk.kind}", f"disk.{disk.path}")
        for disk in now.figures.disks
    ]
    if entries:
        _add_meters(card, now, entries)
    else:
        card.add_paragraph("No disk is mounted.")


def _add_cores(grid: Element, now: Live) -> None:
    card = frame.add_card(grid, "Processors")
    _add_meters(card, now, [(f"Processor {number}", "", f"core.{number}") for number in range(len(now.figures.cores))])


def _add_interfaces(grid: Element, now: Live) -> None:
    card = frame.add_card(grid, "Network interfaces")
    if not now.figures.interfaces:
        card.add_paragraph("No interface has carried anything yet.")
        return

    def figure(part: str) -> Column:
        class_ = "right" if part.endswith("rate") else "right optional"
        return Column(lambda name: _text(now, f"network.{name}.{part}"), part, class_=class_)

    frame.add_table_place(card, "Network interfaces").add_table(
        [interface.name for interface in now.figures.interfaces],
        columns=[Column(str, header=True), *map(figure, ("received_rate", "sent_rate", "received", "sent"))],
        headings=("Name", "In", "Out", "Received", "Sent"),
    )


def _add_temperatures(grid: Element, now: Live) -> None:
    sensors = now.figures.temperatures
    if sensors:
        card = frame.add_card(grid, "Temperatures")
        _add_meters(card, now, [(sensor.name, "", f"temperature.{sensor.name}") for sensor in sensors])
