"""Pages whose buttons and forms call remote functions, under a policy without any exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from typing import Any

from framework import App, Request, Response
from framework.rpc import Progress, Proxy, RPCError
from framework.xhtml import Document, Element
from framework.xhtml.theme import theme_css

POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'"
restarts: list[str] = []


class Level(Enum):
    QUIET = "quiet"
    LOUD = "loud"


class Disks:
    def check(self, name: str, *, deep: bool = False) -> str:
        return f"{name} is good{', deep down' if deep else ''}"


def restart(service: str) -> str:
    restarts.append(service)
    return f"{service} runs again, <b>{len(restarts)}</b>"


def copy(disks: int) -> Iterator[Progress | str]:
    for number in range(disks):
        yield Progress(number + 1, disks, f"disk {number + 1} of {disks}")
    return f"{disks} disks copied"  # type: ignore[return-value]


def lines() -> Iterator[str]:
    yield "one"
    yield "two"


def fail() -> None:
    raise RPCError("The disk is busy.", code=7)


def save(
    name: str,
    size: int,
    day: date,
    level: Level,
    quick: bool,
    what: list[str],
    key: bytes = b"",
    elements: str = "",
    many: list[str] | None = None,
    empty: int | None = None,
) -> dict[str, Any]:
    return {"name": name, "size": size, "day": day.isoformat(), "level": level.value, "quick": quick, "what": what,
            "key": len(key), "elements": elements, "many": many, "empty": empty}  # fmt: skip


proxy = Proxy(
    {"restart": restart, "copy": copy, "lines": lines, "fail": fail, "save": save, "disks": Disks(), "limits": len},
    token=lambda request: "the secret of a session",
)


def document(get_url: Callable[..., str]) -> Document:
    page = Document("Calls", get_url=get_url)
    page.head.add_theme("/theme.css")
    page.head.add_icon("/theme.css")
    main = page.body.main(Element("h1", "Calls"))
    main.p(f"{len(restarts)} restarts", id="count")
    for text, function, options in (
        ("Restart", proxy.restart, {"named": {"service": "<nginx>"}, "confirm": "Restart?"}),
        ("Restart and reload", proxy.restart, {"named": {"service": "x"}, "reload": True}),
        ("Lines", proxy.lines, {}),
        ("Fail", proxy.fail, {}),
    ):
        main.p().button(text).calls(function, **options)
    main.p().button("Copy").calls(proxy.copy, 3)
    shown = main.output()
    bar = main.progress(value=0, aria_label="Copies")
    main.p().button("Copy there").calls(proxy.copy, 2, output=shown, progress=bar, done="All is copied.")
    main.p().button("Check").calls(proxy.disks.check, "sda")
    form = main.add_form(aria_label="Settings")
    form.add_text("name", "Name", "box", required=True)
    form.add_number("size", "Size", 7)
    form.add_number("empty", "Empty")
    form.add_date("day", "Day", date(2030, 1, 31))
    form.add_radio_group("level", "Level", Level, Level.LOUD)
    form.add_checkbox("quick", "Quick", True)
    form.add_checkbox_group("what", "What", ["a", "b", "c"], ["a", "c"])
    form.add_select("many", "Many", ["x", "y", "z"], ["x", "z"], multiple=True)
    form.add_file("key", "Key")
    form.add_hidden("elements", "here")
    form.calls(proxy.save)
    form.add_submit("Save")
    return page


def index(request: Request) -> Response:
    response = Response.page(document(request.get_url))
    response.set_header("Content-Security-Policy", POLICY)
    return response


def theme(request: Request) -> Response:
    return Response(theme_css().encode(), content_type="text/css; charset=utf-8")


app = App([("/$", index), ("/theme.css$", theme), ("/rpc$", proxy, "rpc")])
