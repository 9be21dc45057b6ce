"""The widget gallery: one of everything that `framework.xhtml` makes, each as a function of its own.

`docs/xhtml.md` shows the source of each function beside a picture of what it makes; `python -m examples.gallery`
writes both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date
from enum import Enum

from framework.xhtml import Column, Document, Element

HOUR = [30 + 25 * math.sin(i / 6) + 8 * math.sin(i * 1.7) for i in range(60)]
"""An hour of a figure, one value a minute."""


class Level(Enum):
    """How much is written to the log."""

    QUIET = "quiet"
    NORMAL = "normal"
    EVERYTHING = "everything"


@dataclass
class Disk:
    """One disk of the machine."""

    name: str
    mounted_at: str
    size: int
    used: float
    healthy: bool


DISKS = [
    Disk("sda1", "/", 64, 0.42, True),
    Disk("sda2", "/home", 256, 0.87, True),
    Disk("sdb1", "/srv/backup", 2048, 0.08, False),
]


def headings_and_text(page: Element) -> None:
    page.add_heading(2, "Network")
    page.add_paragraph(
        "Two interfaces are ", Element("strong", "up"), "; set one up with ", Element("code", "ip link"), "."
    )
    page.add_list(["Ethernet", ["eth0", "eth1"], "Wireless"])
    page.add_definition_list({"Model": "X1", "Addresses": ["10.0.0.2", "fe80::1"]})


def navigation(page: Element) -> None:
    page.add_navigation([("Overview", "/"), ("Disks", "/disks"), ("Log", "/log")], label="Main", current="/disks")


def table(page: Element) -> None:
    page.add_table(
        DISKS,
        caption="Disks",
        columns=[
            Column("name", "Disk", header=True),
            "mounted_at",
            Column("size", "Size", render="{:,} GB".format),
            Column("used", "Used", render=".0%"),
            Column(
                "healthy", "State", render=lambda ok: Element("span", "good" if ok else "failing", class_=badge(ok))
            ),
        ],
        footers=["Together", None, 2368],
        row_class=lambda disk: None if disk.healthy else "failing",
    )


def badge(ok: bool) -> str:
    return "badge success" if ok else "badge error"


def form(page: Element) -> None:
    form = page.add_form(
        "/settings",
        values={"name": "", "mail": "admin@example.org", "level": "normal"},
        errors={"name": "A name is needed."},
    )
    form.add_text("name", "Name", required=True, help="As it is shown on the network.", autocomplete="off")
    form.add_email("mail", "Reports go to")
    form.add_select("zone", "Time zone", {"Europe": ["Berlin", "Lisbon"], "Asia": ["Tokyo"]}, "Lisbon")
    form.add_radio_group("level", "Log", Level)
    form.add_checkbox("updates", "Install updates by night", True)
    form.add_error_summary()
    form.add_submit("Save")
    form.add_button("Try it")


def more_inputs(page: Element) -> None:
    form = page.add_form("/job").add_fieldset("Backup")
    form.add_date("day", "First day", date(2030, 1, 31))
    form.add_number("keep", "Copies to keep", 7, min=1, max=30)
    form.add_range("speed", "Speed", 60, min=0, max=100)
    form.add_file("key", "Key file", accept=".pem")
    form.add_checkbox_group("what", "What", ["Settings", "Data", "Logs"], ["Settings", "Data"])
    form.add_textarea("note", "Note", "Runs at night.", rows=3)


def messages(page: Element) -> None:
    page.add_status("The backup is running.")
    page.add_status("Saved.", kind="success")
    page.add_status("The disk is nearly full.", kind="warning")
    page.add_status("The disk does not answer.", kind="error")


def gauges(page: Element) -> None:
    page.add_progress("Copying", 0.6)
    page.add_progress("Searching")
    page.add_meter("Memory", 5.1, maximum=8, text="5.1 of 8 GB", low=4, high=7, optimum=2)


def details(page: Element) -> None:
    page.add_details("What is measured?", Element("p", "The share of time in which the processor worked."), open=True)


def figure(page: Element) -> None:
    page.add_figure(Element("pre", "eth0: 10.0.0.2/24\neth1: down"), "What ip says")


def sparkline(page: Element) -> None:
    page.add_paragraph("Load in the last hour: ").add_sparkline(HOUR, label="Load", unit=" %", maximum=100)


def line_chart(page: Element) -> None:
    page.add_line_chart(HOUR, label="Processor", unit=" %", maximum=100, start="1 h ago", end="now")


def line_chart_with_names(page: Element) -> None:
    traffic = {"received": [value / 20 for value in HOUR], "sent": [(60 - value) / 50 for value in HOUR]}
    page.add_line_chart(traffic, label="Network", unit=" MB/s", start="1 h ago", end="now")


def bar_chart(page: Element) -> None:
    page.add_bar_chart({"/": 42, "/home": 87, "/srv/backup": 8}, label="Disks in use", unit=" %", maximum=100)


def cards(page: Element) -> None:
    cards = page.div(class_="cards")
    for name, value in (("Processor", "32 %"), ("Memory", "5.1 GB"), ("Uptime", "12 days")):
        card = cards.add_section(name, level=3, class_="card")
        card.p(value, class_="figure")


WIDGETS = [
    headings_and_text,
    navigation,
    table,
    form,
    more_inputs,
    messages,
    gauges,
    details,
    figure,
    sparkline,
    line_chart,
    line_chart_with_names,
    bar_chart,
    cards,
]


def build() -> Document:
    """The gallery as one page."""
    page = Document(title="Widgets", description="One of everything that framework.xhtml makes")
    page.head.add_theme()
    page.body.header().add_heading(1, "Widgets")
    main = page.body.main()
    for widget in WIDGETS:
        name = widget.__name__.replace("_", " ")
        section = main.add_section(name[0].upper() + name[1:], id=widget.__name__, class_="card widget")
        widget(section)
    page.body.footer("Made by framework.xhtml.")
    return page
