"""The widget gallery: one of everything that `framework.xhtml` makes, each as a function of its own.

`docs/xhtml.md` shows the source of each function beside a picture of what it makes; `python -m examples.gallery`
writes both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import Enum
from typing import Any
from urllib.parse import quote

from framework.rpc import Proxy
from framework.xhtml import Column, Document, Element

HOUR = [30 + 25 * math.sin(i / 6) + 8 * math.sin(i * 1.7) for i in range(60)]
"""An hour of a figure, one value a minute."""


ICON = quote(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 2"><circle cx="1" cy="1" r="1" fill="#2c7a4b"/></svg>'
)
"""A picture that needs no file."""


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


def restart(service: str) -> str:
    """What a button of the gallery calls."""
    return f"{service} runs again."


services = Proxy([restart])


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


def wide_table_of_dictionaries(page: Element) -> None:
    addresses = [
        {"interface": "eth0", "address": "10.0.0.2/24", "received": 81_234_567, "sent": 4_512},
        {"interface": "eth1", "address": None, "received": 0, "sent": 0},
    ]
    page.add_scroll_area("Interfaces").add_table(
        addresses, row_header="interface", formats={"received": ",", "sent": ","}, empty="There is none."
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


def every_input(page: Element) -> None:
    form = page.add_form("/device", class_="cards")
    form.add_text("text", "Text", "box")
    form.add_password("password", "Password", autocomplete="new-password")
    form.add_email("email", "E-mail", "admin@example.org")
    form.add_url("url", "URL", "https://example.org/")
    form.add_tel("tel", "Telephone", "+49 30 1234")
    form.add_search("search", "Search", "disk")
    form.add_number("number", "Number", 7, min=0, step=1)
    form.add_range("range", "Range", 40, min=0, max=100)
    form.add_date("date", "Date", date(2030, 1, 31))
    form.add_time("time", "Time", time(6, 30))
    form.add_datetime("datetime", "Date and time", datetime(2030, 1, 31, 6, 30))
    form.add_month("month", "Month", "2030-01")
    form.add_week("week", "Week", "2030-W05")
    form.add_color("color", "Colour", "#1d5fa8")
    form.add_file("file", "File", accept="image/*")
    form.add_hidden("token", "not shown")


def choices(page: Element) -> None:
    form = page.add_form("/log")
    form.add_select("level", "Level", Level, Level.NORMAL)
    form.add_select("parts", "Parts", [("net", "Network"), ("fs", "File systems")], ["fs"], multiple=True, size=2)
    form.add_select("zone", "Time zone", {"Europe": ["Berlin", "Lisbon"], "Asia": ["Tokyo"]}, prompt="Choose one")
    form.add_submit("Save")
    form.add_reset()


def buttons_that_call_python(page: Element) -> None:
    page.p().button("Restart nginx").calls(services.restart, "nginx", confirm="Restart nginx?")
    form = page.add_form()
    form.add_text("service", "Service", required=True)
    form.add_submit("Restart it")
    form.calls(services.restart)


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


def image(page: Element) -> None:
    picture = Element("img", src="data:image/svg+xml," + ICON, alt="A green light", width=48, height=48)
    page.add_figure(picture, "The box is well.")


def nested_lists(page: Element) -> None:
    page.add_list({"Disks": ["sda", "sdb"], "Fans": {"front": "1,200 rpm", "back": None}})
    page.add_list(["Unplug it.", "Wait:", ["ten seconds", "or longer"], "Plug it in."], ordered=True)


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
    wide_table_of_dictionaries,
    form,
    more_inputs,
    every_input,
    choices,
    buttons_that_call_python,
    messages,
    gauges,
    details,
    figure,
    image,
    nested_lists,
    sparkline,
    line_chart,
    line_chart_with_names,
    bar_chart,
    cards,
]


def new_page(title: str, **options: Any) -> Document:
    """A page whose remote functions are at /rpc, which nobody serves in pictures."""
    return Document(title, get_url=lambda handler, **params: "/rpc", **options)


def build() -> Document:
    """The gallery as one page."""
    page = new_page("Widgets", description="One of everything that framework.xhtml makes")
    page.head.add_theme()
    page.body.header().add_heading(1, "Widgets")
    main = page.body.main()
    for widget in WIDGETS:
        name = widget.__name__.replace("_", " ")
        section = main.add_section(name[0].upper() + name[1:], id=widget.__name__, class_="card widget")
        widget(section)
    page.body.footer("Made by framework.xhtml.")
    return page
