"""A framework App with a bit of everything, for tests that run it in a real server."""

from __future__ import annotations

from collections.abc import Iterator

from framework import App, HTTPError, Request, RequestHandler, Response
from framework.limits import Limits
from framework.rpc import Proxy


class Page:
    media_types = ("application/xhtml+xml", "text/html")

    def encode(self) -> bytes:
        return '<html xmlns="http://www.w3.org/1999/xhtml"><p>ü</p></html>'.encode()


class Item(RequestHandler):
    def get(self, id: int) -> str:
        return f"item {id} at {self.get_url(Item, id=id)}"

    def put(self, id: int) -> dict[str, object]:
        return {"id": id, "json": self.request.json}


def upload(request: Request) -> list[list[object]]:
    return [[file.filename, file.size, file.read(3).decode()] for file in request.files.values()]


def lines(request: Request) -> Response:
    def numbers() -> Iterator[str]:
        for number in range(20_000):
            yield f"line {number}\n"

    return Response.stream(numbers())


def broken(request: Request) -> Response:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("in the middle")

    return Response.stream(chunks())


def fail(request: Request) -> str:
    raise RuntimeError("on purpose")


def sign_in(request: Request) -> Response:
    if request.form.get("name") != "ada":
        raise HTTPError(403)
    response = Response.redirect(request.get_url("page"))
    response.set_cookie("user", "ada")
    return response


def whole(request: Request) -> Response:
    return Response.file(request.query["path"])


def add(a: int, b: int) -> int:
    return a + b


app = App(
    [
        ("/$", lambda request: Page(), "page"),
        (r"/item/(?P<id>\d+)$", Item),
        ("/upload$", upload),
        ("/lines$", lines),
        ("/broken$", broken),
        ("/fail$", fail),
        ("/sign-in$", sign_in),
        ("/file$", whole),
        ("/rpc$", Proxy([add])),
    ],
    limits=Limits(file_memory_bytes=1000),
)
