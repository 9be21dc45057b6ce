"""Answers of every kind: headers that cannot begin another, safe redirects, cookies, JSON, pages, streams."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import uuid
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie
from typing import Any

import app_caller
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import App, Request, Response
from framework.cookies import Cookie, parse_cookies
from framework.headers import check_header, http_date
from framework.negotiation import choose_media_type, parse_accept, wants_only_json
from framework.response import attachment, check_location

Call = Callable[..., app_caller.Answer]
XHTML_FIRST = ("application/xhtml+xml", "text/html")


@pytest.fixture(params=app_caller.INTERFACES)
def call(request: pytest.FixtureRequest) -> Call:
    return functools.partial(app_caller.call, interface=request.param)


def answer_with(response: Response) -> App:
    return App([("/$", lambda request: response)])


BAD_HEADERS = [
    ("X-A", "b\r\nSet-Cookie: c=d"),
    ("X-A", "b\nc"),
    ("X-A", "b\rc"),
    ("X-A", "b\0c"),
    ("X-A", "\x7f"),
    ("X-A", "東"),
    ("X-A\r\nX-B", "c"),
    ("X A", "b"),
    ("X-A:", "b"),
    ("", "b"),
    ("Ä", "b"),
]


@pytest.mark.parametrize(("name", "value"), BAD_HEADERS)
def test_a_header_that_could_begin_another_is_refused(name: str, value: str) -> None:
    response = Response.text("x")
    for attempt in (
        lambda: response.set_header(name, value),
        lambda: response.add_header(name, value),
        lambda: Response(b"x", headers=[(name, value)]),
        lambda: check_header(name, value),
    ):
        with pytest.raises(ValueError, match="header"):
            attempt()
    assert response.headers == [("Content-Type", "text/plain; charset=utf-8")]


@given(st.text(), st.text())
def test_what_is_taken_as_a_header_is_one_line(name: str, value: str) -> None:
    try:
        check_header(name, value)
    except ValueError:
        return
    assert not set(name + value) & set("\r\n\0")
    f"{name}: {value}".encode("latin-1")


def test_headers_are_set_and_added_in_any_case() -> None:
    response = Response.text("x")
    response.set_header("content-type", "text/css")
    response.add_header("X-A", "1")
    response.add_header("x-a", "2")
    assert response.get_header("CONTENT-TYPE") == "text/css"
    assert response.headers == [("content-type", "text/css"), ("X-A", "1"), ("x-a", "2")]
    response.set_header("X-A", "3")
    assert response.get_header("x-A") == "3"


@pytest.mark.parametrize("status", [100, 199, 600, "200", 200.0, True])
def test_a_status_is_a_final_one(status: Any) -> None:
    with pytest.raises(ValueError, match="200 to 599"):
        Response(b"", status)
    with pytest.raises(ValueError, match="200 to 599"):
        Response.text("", status)


def test_text_is_not_taken_for_bytes() -> None:
    with pytest.raises(TypeError, match=r"Response\.text"):
        Response("text")


@dataclasses.dataclass
class Disk:
    name: str
    size: int


class Color(enum.Enum):
    RED = "red"


def test_json_knows_common_values(call: Call) -> None:
    value = {
        "disk": Disk("sda", 2**40),
        "day": datetime.date(2026, 1, 2),
        "id": uuid.UUID(int=1),
        "color": Color.RED,
        7: (1, None),
    }
    answer = call(answer_with(Response.json(value, status=201)))
    assert (answer.status, answer.get("Content-Type")) == (201, "application/json")
    assert answer.json == {
        "disk": {"name": "sda", "size": 2**40},
        "day": "2026-01-02",
        "id": "00000000-0000-0000-0000-000000000001",
        "color": "red",
        "7": [1, None],
    }
    with pytest.raises(TypeError):
        Response.json(object())


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/a/b?c=d#e", "/a/b?c=d#e"),
        ("?page=2", "?page=2"),
        ("..", ".."),
        ("/straße", "/stra%C3%9Fe"),
        ("/a:b", "/a:b"),
    ],
)
def test_a_redirect_stays_on_its_host(call: Call, location: str, sent: str) -> None:
    answer = call(answer_with(Response.redirect(location)))
    assert (answer.status, answer.get("Location"), answer.body) == (303, sent, b"")


@pytest.mark.parametrize(
    "location",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "http://evil.example",
        "HTTPS:evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "java\tscript:alert(1)",
        " //evil.example",
        "/a\r\nSet-Cookie: b=c",
        "/a b",
        "/\0",
    ],
)
def test_a_redirect_elsewhere_is_refused(location: str) -> None:
    with pytest.raises(ValueError, match=r"redirect|browsers"):
        Response.redirect(location)


def test_a_redirect_elsewhere_on_purpose_is_to_the_web_only() -> None:
    response = Response.redirect("https://docs.example/ü", 307, external=True)
    assert (response.status, response.get_header("Location")) == (307, "https://docs.example/%C3%BC")
    for location in ("javascript:alert(1)", "//evil.example", "file:///etc/passwd", "https://a\r\nb"):
        with pytest.raises(ValueError, match="redirect"):
            Response.redirect(location, external=True)
    with pytest.raises(ValueError, match="status of a redirect"):
        Response.redirect("/", 200)


@given(st.text())
def test_no_redirect_that_is_taken_leaves_the_host(location: str) -> None:
    from urllib.parse import urljoin, urlsplit

    try:
        sent = Response.redirect(location).get_header("Location")
    except ValueError:
        return
    assert sent is not None
    assert sent.isascii()
    assert urlsplit(urljoin("http://host.example/a/b", sent)).netloc == "host.example"


def test_a_redirect_takes_the_sites_own_addresses(call: Call) -> None:
    class Resolver:
        def url(self, *args: Any, **kwargs: Any) -> str:
            return "http://wall.localhost:8080/"

        def find(self, host: str, path: str) -> None:
            return None

    app = App([("/$", lambda request: Response.redirect(request.get_url("wall:show") + request.query["add"]))])
    app.mount(Resolver(), "status", [["*", ""]])
    assert call(app, query="add=").get("Location") == "http://wall.localhost:8080/"
    assert call(app, query="add=?a%3D1%23b").get("Location") == "http://wall.localhost:8080/?a=1#b"
    for hostile in ("@evil.example/", ".evil.example/", "?a%0D%0ASet-Cookie:b", "?a%5Cb"):
        assert call(app, query=f"add={hostile}").status == 500


def test_a_cookie_is_safe_by_default(call: Call) -> None:
    response = Response.text("x")
    response.set_cookie("session", "a b;c=ü,%")
    app = answer_with(response)
    app.mount(mounts=[["*", "/status"]])
    header = call(app, "/status/").get("Set-Cookie")
    assert header == "session=a%20b%3Bc=%C3%BC%2C%25; Path=/status/; Secure; HttpOnly; SameSite=Lax"
    assert parse_cookies(header.partition(";")[0], 10) == {"session": "a b;c=ü,%"}


def test_a_cookie_is_what_it_is_told_to_be(call: Call) -> None:
    response = Response.text("x")
    response.set_cookie(
        "a", "1", max_age=60, path="/x", domain="a.example", secure=False, http_only=False, same_site="strict"
    )
    response.delete_cookie("b")
    first, second = call(answer_with(response)).all("Set-Cookie")
    assert first == "a=1; Path=/x; Domain=a.example; Max-Age=60; SameSite=Strict"
    assert second == "b=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a b", {}, "token"),
        ("a\r\nb", {}, "token"),
        ("", {}, "token"),
        ("a", {"same_site": "none", "secure": False}, "secure=True"),
        ("a", {"same_site": "maybe"}, "Strict, Lax, None"),
        ("a", {"path": "x"}, "path"),
        ("a", {"path": "/;Domain=evil"}, "path"),
        ("a", {"path": "/\r\n"}, "path"),
        ("a", {"domain": "a;b"}, "domain"),
        ("__Host-a", {"path": "/x"}, "prefix"),
        ("__Host-a", {"secure": False}, "prefix"),
        ("__Secure-a", {"secure": False}, "prefix"),
        ("a", {"value": "x" * 4096}, "4096 bytes"),
    ],
)
def test_a_cookie_that_no_browser_takes_is_refused(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Response.text("x").set_cookie(name, **options)


def test_a_host_cookie_is_for_the_whole_host() -> None:
    assert Cookie("__Host-a", "b").header("/status").startswith("__Host-a=b; Path=/; Secure")


@given(st.text(max_size=200))
def test_any_cookie_value_comes_back(value: str) -> None:
    header = Cookie("a", value).header()
    sent = header.partition(";")[0]
    assert parse_cookies(sent, 1) == {"a": value.encode("utf-8", "replace").decode()}
    assert SimpleCookie(header)["a"]["samesite"] == "Lax"


class Page:
    media_types = XHTML_FIRST

    def __iter__(self) -> Iterator[str]:
        yield "<p>"
        yield "ü</p>"

    def encode(self) -> bytes:
        return "".join(self).encode()


@pytest.mark.parametrize("stream", [False, True])
def test_a_page_is_negotiated(call: Call, stream: bool) -> None:
    app = App([("/$", lambda request: Response.page(Page(), 201, stream=stream))])
    plain = call(app)
    assert (plain.status, plain.get("Content-Type"), plain.get("Vary"), plain.text) == (
        201,
        "text/html; charset=utf-8",
        "Accept",
        "<p>ü</p>",
    )
    xhtml = call(app, headers={"Accept": "application/xhtml+xml"})
    assert xhtml.get("Content-Type") == "application/xhtml+xml; charset=utf-8"
    assert xhtml.body == plain.body


def test_a_page_keeps_the_vary_and_type_that_it_was_given(call: Call) -> None:
    def handler(request: Request) -> Response:
        response = Response.page(Page())
        response.add_header("Vary", "Cookie")
        if request.query.get("typed"):
            response.set_header("Content-Type", "text/html")
        return response

    app = App([("/$", handler)])
    assert call(app).all("Vary") == ["Cookie, Accept"]
    assert call(app, query="typed=1", headers={"Accept": "application/xhtml+xml"}).get("Content-Type") == "text/html"


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("text/html,application/xhtml+xml;q=0.9", "text/html"),
        ("application/xhtml+xml, text/html", "application/xhtml+xml"),
        ("APPLICATION/XHTML+XML", "application/xhtml+xml"),
        ("application/xhtml+xml;q=0", "text/html"),
        ("application/xhtml+xml;q=nan", "text/html"),
        ("application/*, */*", "text/html"),
        ("", "text/html"),
        (";;;,,,q=1", "text/html"),
        ("application/xhtml+xml," + "x" * 5000, "text/html"),
    ],
)
def test_the_accept_header_chooses(accept: str, chosen: str) -> None:
    assert choose_media_type(accept, XHTML_FIRST) == chosen


@given(st.text())
def test_any_accept_header_is_understood_or_ignored(accept: str) -> None:
    assert choose_media_type(accept, XHTML_FIRST) in XHTML_FIRST
    assert wants_only_json(accept) in (True, False)
    assert all(0 <= quality <= 1 for quality in parse_accept(accept).values())


class Chunks:
    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[str | bytes]:
        yield "ä"
        yield b"\xff"

    def close(self) -> None:
        self.closed += 1


def test_a_stream_is_sent_as_bytes_and_closed(call: Call) -> None:
    chunks = Chunks()
    app = App([("/$", lambda request: Response.stream(chunks, content_type="application/x-log"))])
    answer = call(app)
    assert (answer.body, answer.get("Content-Type")) == (b"\xc3\xa4\xff", "application/x-log")
    assert answer.get("Content-Length") is None


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_generator_is_closed_whether_sent_or_not(call: Call, method: str) -> None:
    seen: list[str] = []

    def lines() -> Iterator[str]:
        try:
            yield "a"
        finally:
            seen.append("closed")

    app = App([("/$", lambda request: Response.stream(lines()))])
    assert call(app, method=method).body == (b"a" if method == "GET" else b"")
    assert seen == (["closed"] if method == "GET" else [])


def test_a_stream_is_pulled_chunk_by_chunk() -> None:
    made: list[int] = []

    def numbers() -> Iterator[str]:
        for number in range(5):
            made.append(number)
            yield str(number)

    response = App([("/$", lambda request: Response.stream(numbers()))])(
        app_caller.native_request([(b"REQUEST_METHOD", b"GET"), (b"PATH_INFO", b"/")])
    )
    assert made == []
    assert next(iter(response.body)) == b"0"
    assert made == [0]
    response.close()


def test_an_etag_saves_the_body(call: Call) -> None:
    def handler(request: Request) -> Response:
        response = Response.text("content")
        response.set_etag("v1")
        response.add_header("Cache-Control", "no-cache")
        return response

    app = App([("/$", handler)])
    assert call(app).get("ETag") == '"v1"'
    for tags in ('"v1"', 'W/"v1"', '"v0", "v1"', "*"):
        answer = call(app, headers={"If-None-Match": tags})
        assert (answer.status, answer.body, answer.get("ETag")) == (304, b"", '"v1"')
        assert answer.get("Cache-Control") == "no-cache"
        assert answer.get("Content-Type") is None
    assert call(app, headers={"If-None-Match": '"v2", v1'}).status == 200
    assert call(app, method="POST", headers={"If-None-Match": '"v1"'}).status == 200


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body(call: Call, status: int) -> None:
    answer = call(answer_with(Response(b"x", status, content_type="text/plain")))
    assert (answer.status, answer.body, answer.get("Content-Type")) == (status, b"", None)


@pytest.mark.parametrize("seconds", [0, 784111777, 951827696, 4102444800])
def test_http_dates_are_what_the_standard_library_writes(seconds: int) -> None:
    from email.utils import formatdate

    assert http_date(seconds) == formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.txt", 'attachment; filename="a.txt"'),
        ("straße.txt", "attachment; filename=\"stra_e.txt\"; filename*=UTF-8''stra%C3%9Fe.txt"),
        ('a"\r\nX: y/../b', 'attachment; filename="a___X: y_.._b"'),
        ("", 'attachment; filename="download"'),
    ],
)
def test_a_download_has_a_name(name: str, header: str) -> None:
    assert attachment(name) == header


@given(st.text())
def test_any_download_name_is_one_header(name: str) -> None:
    check_header("Content-Disposition", attachment(name))


def test_check_location_is_silent_for_paths() -> None:
    check_location("/a", external=False)
