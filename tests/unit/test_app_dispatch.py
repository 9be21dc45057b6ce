"""Paths to handlers: parameters by name and annotation, methods, what handlers return, tables that are refused."""

from __future__ import annotations

import datetime
import enum
import functools
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

import app_caller
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore.routing import Router
from framework import App, HTTPError, Request, RequestHandler, Response, URLTableError, methods

Call = Callable[..., app_caller.Answer]


@pytest.fixture(params=app_caller.INTERFACES)
def call(request: pytest.FixtureRequest) -> Call:
    return functools.partial(app_caller.call, interface=request.param)


class Color(enum.Enum):
    RED = "red"
    SKY = 7


def show(**annotations: Any) -> Callable[..., Any]:
    """A handler with one parameter `v` of this annotation that shows what it got."""

    def handler(request: Request, v: Any) -> str:
        return repr(v)

    handler.__annotations__["v"] = annotations["v"]
    return handler


@pytest.mark.parametrize(
    ("annotation", "text", "shown"),
    [
        (int, "7", "7"),
        (int, "-12", "-12"),
        (int, "007", "7"),
        (float, "1.5", "1.5"),
        (float, "-1e3", "-1000.0"),
        (bool, "true", "True"),
        (bool, "Off", "False"),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", "UUID('12345678-1234-5678-1234-567812345678')"),
        (datetime.date, "2026-02-28", "datetime.date(2026, 2, 28)"),
        (datetime.datetime, "2026-02-28T10:30", "datetime.datetime(2026, 2, 28, 10, 30)"),
        (Decimal, "1.10", "Decimal('1.10')"),
        (Color, "red", "<Color.RED: 'red'>"),
        (Color, "RED", "<Color.RED: 'red'>"),
        (Color, "7", "<Color.SKY: 7>"),
        (Literal["on", "off"], "off", "'off'"),
        (int | None, "3", "3"),
        (int | str, "x3", "'x3'"),
        (str, "ä/b", "'ä/b'"),
        ("int", "3", "3"),
    ],
)
def test_parameters_are_converted_by_their_annotations(call: Call, annotation: Any, text: str, shown: str) -> None:
    app = App([("/(?P<v>.*)$", show(v=annotation))])
    assert call(app, f"/{text}").text == shown


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "1_0"),
        (int, " 1"),
        (int, "٣"),
        (int, "1" * 5000),
        (int, ""),
        (int, "+"),
        (float, "nan"),
        (float, "inf"),
        (float, "1e999"),
        (float, "0x1p3"),
        (bool, "maybe"),
        (uuid.UUID, "{12345678-1234-5678-1234-567812345678}"),
        (uuid.UUID, "123456781234-5678-1234-567812345678"),
        (datetime.date, "2026-02-30"),
        (datetime.date, "20260228"),
        (datetime.datetime, "yesterday"),
        (Decimal, "sNaN"),
        (Color, "blue"),
        (Literal["on", "off"], "ON"),
    ],
)
def test_what_does_not_convert_is_not_found(call: Call, annotation: Any, text: str) -> None:
    app = App([("/(?P<v>.*)$", show(v=annotation))])
    assert call(app, f"/{text}").status == 404


@given(st.text(max_size=40))
def test_no_text_in_a_path_makes_a_server_error(text: str) -> None:
    kinds = [int, float, bool, uuid.UUID, datetime.date, datetime.datetime, datetime.time, Decimal, Color, str]
    app = App([(f"/{index}/(?P<v>.*)$", show(v=kind)) for index, kind in enumerate(kinds)])
    for index in range(len(kinds)):
        raw = f"/{index}/{text}".encode("utf-8", "surrogatepass").decode("latin-1")
        assert app_caller.call(app, raw={"PATH_INFO": raw}).status in (200, 400, 404)


def test_shorthand_patterns_convert_without_annotations(call: Call) -> None:
    app = App([("/day/<date:day>/<int:number>", lambda request, day, number: repr((day, number)))])
    assert call(app, "/day/2026-01-02/5").text == "(datetime.date(2026, 1, 2), 5)"
    assert call(app, "/day/2026-13-02/5").status == 404


def test_a_group_left_out_takes_the_default(call: Call) -> None:
    def list_users(request: Request, page: int = 1) -> str:
        return f"page {page}"

    app = App([(r"/users(?:/(?P<page>\d+))?$", list_users)])
    assert call(app, "/users").text == "page 1"
    assert call(app, "/users/4").text == "page 4"


def test_a_group_left_out_without_a_default_is_not_found(call: Call) -> None:
    def list_users(request: Request, page: int) -> str:
        return f"page {page}"

    app = App([(r"/users(?:/(?P<page>\d+))?$", list_users)])
    assert call(app, "/users").status == 404


def test_the_first_pattern_that_matches_wins(call: Call) -> None:
    app = App([("/a", lambda request: "first"), ("/ab$", lambda request: "second")])
    assert call(app, "/ab").text == "first"


class Note(RequestHandler):
    def get(self, id: int) -> str:
        return f"note {id} by {self.request.method}, see {self.get_url(Note, id=id + 1)}"

    def post(self, id: int) -> Response:
        return Response.text("made", status=201)

    def delete(self, id: int) -> None:
        return None


NOTES = App([(r"/note/(?P<id>\d+)$", Note, "note")])


def test_a_class_has_a_method_for_each_http_method(call: Call) -> None:
    assert call(NOTES, "/note/3").text == "note 3 by GET, see /note/4"
    assert call(NOTES, "/note/3", "POST").status == 201
    deleted = call(NOTES, "/note/3", "DELETE")
    assert (deleted.status, deleted.body, deleted.get("Content-Type")) == (204, b"", None)


def test_head_is_get_without_a_body(call: Call) -> None:
    answer = call(NOTES, "/note/3", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.get("Content-Length") == str(len("note 3 by HEAD, see /note/4"))
    assert answer.get("Content-Type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "PROPFIND", "get"])
def test_another_method_is_refused_and_told_which_there_are(call: Call, method: str) -> None:
    answer = app_caller.call(NOTES, "/note/3", method)
    assert answer.status == 405
    assert answer.get("Allow") == "GET, HEAD, POST, DELETE, OPTIONS"


def test_options_is_answered(call: Call) -> None:
    answer = call(NOTES, "/note/3", "OPTIONS")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.get("Allow") == "GET, HEAD, POST, DELETE, OPTIONS"


def test_a_function_may_name_its_methods(call: Call) -> None:
    @methods("GET", "POST")
    def form(request: Request) -> str:
        return request.method

    app = App([("/form$", form), ("/any$", lambda request: request.method)])
    assert call(app, "/form", "POST").text == "POST"
    assert call(app, "/form", "HEAD").status == 200
    assert call(app, "/form", "DELETE").get("Allow") == "GET, HEAD, POST, OPTIONS"
    assert call(app, "/any", "DELETE").text == "DELETE"
    assert call(app, "/any", "OPTIONS").status == 204


def test_methods_refuses_what_is_no_method() -> None:
    with pytest.raises(ValueError, match="'get'"):
        methods("get")


class Page:
    media_types = ("application/xhtml+xml", "text/html")

    def encode(self) -> bytes:
        return b"<p/>"


@pytest.mark.parametrize(
    ("result", "status", "content_type", "body"),
    [
        ("ä", 200, "text/plain; charset=utf-8", "ä".encode()),
        (b"\0\1", 200, "application/octet-stream", b"\0\1"),
        ({"a": [1]}, 200, "application/json", b'{"a":[1]}'),
        ({1: 2}, 200, "application/json", b'{"1":2}'),
        ({"a\udcff": ["\udcff", None]}, 200, "application/json", b'{"a?":["?",null]}'),
        ([1, "x"], 200, "application/json", b'[1,"x"]'),
        (None, 204, None, b""),
        (Page(), 200, "text/html; charset=utf-8", b"<p/>"),
        ("\udcff", 200, "text/plain; charset=utf-8", b"?"),
    ],
)
def test_what_a_handler_returns_becomes_the_answer(
    call: Call, result: Any, status: int, content_type: str | None, body: bytes
) -> None:
    answer = call(App([("/$", lambda request: result)]))
    assert (answer.status, answer.get("Content-Type"), answer.body) == (status, content_type, body)


def test_a_response_may_be_kept_and_returned_again(call: Call) -> None:
    kept = Response.page(Page())
    kept.set_cookie("a", "b")
    app = App([("/$", lambda request: kept)])
    first, second = call(app), call(app, method="HEAD")
    assert first.headers[:3] == second.headers[:3]
    assert len(kept.headers) == 0


def test_a_result_of_another_kind_is_an_error_that_says_what_to_return(
    call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    assert call(App([("/$", lambda request: 7)])).status == 500
    assert "returned int; it returns a Response, a page, str" in caplog.text


class CallableHandler:
    def __call__(self, request: Request, id: int) -> str:
        return f"object {id}"

    def method(self, request: Request, id: int) -> str:
        return f"method {id}"


def with_prefix(prefix: str, request: Request, id: int) -> str:
    return f"{prefix} {id}"


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (CallableHandler(), "object 5"),
        (CallableHandler().method, "method 5"),
        (functools.partial(with_prefix, "partial"), "partial 5"),
        (lambda *args, **kwargs: f"any {kwargs['id']}", "any 5"),
    ],
)
def test_any_callable_is_a_handler(call: Call, handler: Any, text: str) -> None:
    assert call(App([(r"/(?P<id>\d+)$", handler)]), "/5").text == text


def test_a_decorated_handler_is_seen_through(call: Call) -> None:
    def decorate(function: Callable[..., str]) -> Callable[..., str]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> str:
            return function(*args, **kwargs) + "!"

        return wrapper

    @decorate
    def double(request: Request, n: int) -> str:
        return str(2 * n)

    assert call(App([(r"/(?P<n>\d+)$", double)]), "/4").text == "8!"


class Unfit(RequestHandler):
    pass


def takes_id(request: Request, id: int) -> str:
    return ""


def takes_nothing() -> str:
    return ""


def unreadable(request: Request, id: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821
    return ""


def unconvertible(request: Request, id: re.Pattern[str]) -> str:
    return ""


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ((r"/(?P<name>\w+)$", takes_id), ["entry 1", "takes_id", "the pattern gives 'name'", "it takes (id)"]),
        ((r"/$", takes_id), ["entry 1", "it needs 'id'"]),
        ((r"/(?P<id>\d+)/(?P<tag>\w+)$", takes_id), ["the pattern gives 'tag'"]),
        ((r"/$", takes_nothing), ["takes_nothing", "called with the request first"]),
        ((r"/(?P<id>x)$", Unfit), ["Unfit", "none of the methods get, post"]),
        ((r"/(?P<request>x)$", lambda request, **more: ""), ["'request'", "that is its parameter for the request"]),
        ((r"/(?P<tag>x)$", Note), ["the pattern gives 'tag'", "get(id)"]),
        ((r"/(?P<id>x)$", unreadable), ["'Nowhere'", "cannot be read", "NameError"]),
        ((r"/(?P<id>x)$", unconvertible), ["'id'", "Pattern", "Enum"]),
        ((r"/$", "overview"), ["entry 1", "not 'overview'"]),
        ((r"/$",), ["entry 1", "(pattern, handler, name)"]),
        (("/$", Note, "a", "b"), ["entry 1"]),
    ],
)
def test_a_table_that_could_not_work_is_refused(entry: Any, words: list[str]) -> None:
    with pytest.raises(URLTableError) as caught:
        App([("/fine$", lambda request: ""), entry])
    for word in words:
        assert word in str(caught.value)


def two_words(request: Request, first: str, second: str) -> str:
    return ""


@pytest.mark.parametrize(
    ("pattern", "handler", "shown"),
    [
        (r"/user/(?P<name>\w+)$", takes_id, [r"    /user/(?P<name>\w+)$", "              ^"]),
        (r"/(?P<id>\d+)/(?P<tag>\w+)$", Note, [r"    /(?P<id>\d+)/(?P<tag>\w+)$", "                     ^"]),
        (
            r"/[(?P<id>]\(?P<id>(?P<tag>x)(?P<id>x)$",
            takes_id,
            [r"    /[(?P<id>]\(?P<id>(?P<tag>x)(?P<id>x)$", 26 * " " + "^"],
        ),
        ("/day/<date:day>/<tag>", takes_id, ["    /day/<date:day>/<tag>", "               ^"]),
        (re.compile("(?x) / (?P<id>x) # (?P<tag>\n (?P<tag>x)"), takes_id, ["     (?P<tag>x)", "         ^"]),
        (r"/user$", takes_id, ["    /user$", "          ^"]),
        (r"/(?P<second>x)$", two_words, ["    /(?P<second>x)$", "                   ^"]),
        (r"/(?P<id>x)$", unreadable, ["    /(?P<id>x)$", "         ^"]),
        (r"/(?P<request>x)$", lambda request, **more: "", ["    /(?P<request>x)$", "         ^"]),
        (r"/(?P<id>x)$", Unfit, ["    /(?P<id>x)$", "    ^"]),
    ],
)
def test_a_parameter_that_does_not_fit_has_a_caret(pattern: Any, handler: Any, shown: list[str]) -> None:
    """Under the parameter's name, or where the pattern ends without the one that the handler needs."""
    with pytest.raises(URLTableError) as caught:
        App([("/fine$", lambda request: ""), (pattern, handler)])
    message, *lines = str(caught.value).split("\n")
    assert message.startswith("entry 1 of the URL table, pattern ")
    assert lines == shown


def test_a_bad_regex_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"route 1: missing \), unterminated subpattern\n    /\(\n     \^$"):
        App([("/$", lambda request: ""), ("/(", lambda request: "")])


def test_a_name_used_twice_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match=r"route 1: the name 'n' is that of route 0\n    /x  'n'\n        \^$"):
        App([("/$", lambda request: "", "n"), ("/x", lambda request: "", "n")])


def test_the_table_describes_itself() -> None:
    assert NOTES.urls.describe() == [{"pattern": r"/note/(?P<id>\d+)$", "handler": f"{__name__}.Note", "name": "note"}]


def test_a_description_keeps_what_a_compiled_pattern_means() -> None:
    table = [re.compile("^/note$", re.IGNORECASE), re.compile("^/<int:x>$"), "^/day/<int:day>$"]
    rows = App([(pattern, lambda request, **params: "") for pattern in table]).urls.describe()
    assert [row["pattern"] for row in rows] == ["(?i)^/note$", r"^/\x3cint:x>$", "^/day/<int:day>$"]
    read_again = Router([(row["pattern"], index) for index, row in enumerate(rows)])
    assert [read_again.match(path) for path in ("/NOTE", "/<int:x>", "/7", "/day/7")] == [
        (0, {}),
        (1, {}),
        None,
        (2, {"day": "7"}),
    ]


def test_urls_of_handlers_names_and_objects(call: Call) -> None:
    def links(request: Request) -> list[str]:
        return [
            request.get_url(Note, id=7),
            request.get_url("note", id=8),
            request.get_url(links),
            request.get_url("by-color", color=Color.SKY, day=datetime.date(2026, 1, 2)),
            request.get_url("text", v="a b/ü?"),
        ]

    def by_color(request: Request, color: Color, day: datetime.date) -> str:
        return f"{color} {day}"

    app = App(
        [
            ("/$", links),
            (r"/note/(?P<id>\d+)$", Note, "note"),
            (r"/c/(?P<color>\w+)/(?P<day>[\d-]+)$", by_color, "by-color"),
            ("/t/(?P<v>.*)$", show(v=str), "text"),
        ]
    )
    assert call(app, script="/p q").json == [
        "/p%20q/note/7",
        "/p%20q/note/8",
        "/p%20q/",
        "/p%20q/c/7/2026-01-02",
        "/p%20q/t/a%20b/%C3%BC%3F",
    ]
    assert call(app, "/c/7/2026-01-02").text == "Color.SKY 2026-01-02"


def test_urls_that_nobody_has_are_named(call: Call) -> None:
    def ask(request: Request) -> str:
        errors = []
        for reference, params in (
            ("nowhere", {}),
            (takes_id, {"id": 1}),
            ("other:overview", {}),
            ("note", {}),
            ("note", {"id": "x"}),
        ):
            with pytest.raises((LookupError, ValueError)) as caught:
                request.get_url(reference, **params)
            errors.append(f"{caught.type.__name__}: {caught.value}")
        return "\n".join(errors)

    app = App([("/$", ask), (r"/note/(?P<id>\d+)$", Note, "note")])
    lines = call(app).text.split("\n")
    assert lines[0].startswith("UnknownHandler: no entry of the URL table has the name 'nowhere'; its names: note")
    assert "takes_id" in lines[1]
    assert "another back end" in lines[2]
    assert lines[3].startswith("ValueError")
    assert "id" in lines[3]
    assert lines[4].startswith("ValueError")


def test_an_http_error_is_an_answer(call: Call) -> None:
    def handler(request: Request) -> str:
        raise HTTPError(418 if request.path == "/t" else 409, "Somebody else <changed> it.", [("X-Why", "because")])

    answer = call(App([("/", handler)]))
    assert (answer.status, answer.get("X-Why")) == (409, "because")
    assert "Somebody else &lt;changed&gt; it." in answer.text
