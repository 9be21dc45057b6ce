"""What a client sends beside a body: headers, query, cookies, host, scheme; read when asked for, bad input a 400."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import app_caller
import pytest
from app_caller import cgi_params, native_request
from hypothesis import given
from hypothesis import strategies as st

from framework import App, BadRequest, HTTPError, Limits, Request
from framework.cookies import parse_cookies
from framework.formdata import parse_query
from framework.wsgi import EnvironSource


def request_of(pairs: dict[str, str] | list[tuple[str, str]], body: bytes = b"") -> Request:
    items = pairs.items() if isinstance(pairs, dict) else pairs
    return Request(native_request([(n.encode("latin-1"), v.encode("latin-1")) for n, v in items], body))


def make(**options: Any) -> Request:
    return request_of(cgi_params(**options))


def test_headers_are_read_in_any_case() -> None:
    request = make(headers={"User-Agent": "x", "Accept-Language": "de"}, content_type="text/plain", length=3)
    assert request.headers["user-agent"] == request.headers["USER-AGENT"] == "x"
    assert request.headers.get("Accept-language") == "de"
    assert request.headers["Content-Type"] == "text/plain"
    assert request.headers["content-length"] == "3"
    assert request.headers.get("nope") is None
    assert set(request.headers) == {"host", "user-agent", "accept-language", "content-type", "content-length"}
    assert "X" not in repr(request.headers).replace("Headers", "")


def test_a_name_with_an_underscore_is_never_found() -> None:
    request = make(headers={"X-User": "ada"})
    assert request.headers.get("X_User") is None
    assert request.headers.get("HTTP_X_USER") is None
    assert "x_user" not in request.headers


def test_a_header_and_its_underscore_alias_are_refused() -> None:
    params = [*cgi_params().items(), ("HTTP_X_USER", "ada"), ("HTTP_X_USER", "root")]
    with pytest.raises(BadRequest, match="'x-user' came more than once"):
        request_of(params).headers["x-user"]
    answer = app_caller.call_native(
        App([("/$", lambda request: request.headers["x-user"])]),
        native_request([(n.encode(), v.encode()) for n, v in params]),
    )
    assert answer.status == 400


def test_a_header_cannot_pass_for_what_the_front_end_says() -> None:
    request = make(
        headers={"Content-Type": "evil/x", "Content-Length": "9", "Proxy": "http://evil", "Remote-User": "root"},
        content_type="text/plain",
    )
    assert request.headers["content-type"] == request.content_type == "text/plain"
    assert "content-length" not in request.headers
    assert "proxy" not in request.headers
    assert request.remote_user is None
    assert make(REMOTE_USER="ada").remote_user == "ada"
    assert make(headers={"X-Forwarded-For": "6.6.6.6"}).remote_addr == "192.0.2.7"


def test_the_query_is_a_mapping_with_several_values() -> None:
    query = make(query="a=1&a=2&b=&c=%C3%A4+b&d").query
    assert query["a"] == "2"
    assert query.getlist("a") == ["1", "2"]
    assert query.getlist("a", type=int) == [1, 2]
    assert (query["b"], query["c"], query["d"]) == ("", "ä b", "")
    assert query.get("x") is None
    assert query.get("x", "y") == "y"
    assert query.get("a", 0, type=int) == 2
    assert dict(query) == {"a": "2", "b": "", "c": "ä b", "d": ""}
    assert query.pairs()[:2] == (("a", "1"), ("a", "2"))
    assert "a" in query
    assert len(query) == 4


def test_a_field_that_is_missing_or_of_another_kind_is_the_clients_mistake() -> None:
    def handler(request: Request) -> str:
        return str(request.query["size"] + str(request.query.get("n", type=int)))

    app = App([("/$", handler)])
    for query, text in (("", "&#39;size&#39;"), ("size=1&n=x", "no valid int")):
        answer = app_caller.call(app, query=query)
        assert answer.status == 400
        assert text.replace("&#39;", "'") in answer.text
    with pytest.raises(KeyError):
        make().query["size"]


@pytest.mark.parametrize("query", ["a=%FF", "a=%C3", "%80=1", "a=\xff"])
def test_a_query_that_is_not_utf_8_is_refused(query: str) -> None:
    request = request_of({**cgi_params(), "QUERY_STRING": query})
    with pytest.raises(BadRequest, match="not UTF-8"):
        request.query.get("a")


def test_a_query_with_too_many_fields_is_refused() -> None:
    assert len(parse_query("&".join(f"a{n}" for n in range(10)), 10)) == 10
    with pytest.raises(HTTPError, match="more than 10 fields"):
        parse_query("&".join(f"a{n}" for n in range(11)), 10)


@given(st.text(st.characters(max_codepoint=255)))
def test_any_query_is_read_or_refused(text: str) -> None:
    refusals: list[HTTPError] = []
    try:
        query = parse_query(text, 50)
    except HTTPError as error:
        refusals.append(error)
    else:
        assert all(isinstance(value, str) for _, value in query.pairs())
    assert all(error.status == 400 for error in refusals)


def test_cookies_are_read_leniently() -> None:
    cookies = make(headers={"Cookie": 'a=1; b="two"; c=%C3%BC; a=9; bad name=x; =y; flag; d=a=b;; e='}).cookies
    assert cookies == {"a": "1", "b": "two", "c": "ü", "d": "a=b", "e": ""}
    assert make().cookies == {}


@pytest.mark.parametrize("header", ["a=1\r\nb=2", "a=\0", "a=\x7f"])
def test_cookies_with_control_characters_are_refused(header: str) -> None:
    with pytest.raises(BadRequest, match="control characters"):
        make(headers={"Cookie": header}).cookies.get("a")


def test_too_many_cookies_are_refused() -> None:
    assert len(parse_cookies("; ".join(f"a{n}=" for n in range(5)), 5)) == 5
    with pytest.raises(BadRequest, match="more than 5"):
        parse_cookies("; ".join(f"a{n}=" for n in range(6)), 5)


@given(st.text(st.characters(max_codepoint=255)))
def test_any_cookie_header_is_read_or_refused(header: str) -> None:
    try:
        cookies = parse_cookies(header, 20)
    except BadRequest:
        return
    for name, value in cookies.items():
        assert name
        value.encode()


@pytest.mark.parametrize(
    ("params", "host"),
    [
        ({"host": "Console.Localhost:8080"}, "console.localhost:8080"),
        ({"host": "192.0.2.1"}, "192.0.2.1"),
        ({"host": "[2001:db8::1]:80"}, "[2001:db8::1]:80"),
        ({"host": ""}, "console.localhost"),
        ({"host": "", "SERVER_PORT": "8080"}, "console.localhost:8080"),
        ({"host": "", "SERVER_NAME": "::1", "SERVER_PORT": "443", "HTTPS": "on"}, "[::1]"),
    ],
)
def test_the_host_is_the_clients_or_the_servers_own(params: dict[str, str], host: str) -> None:
    assert make(**params).host == host


@pytest.mark.parametrize(
    ("params", "scheme"),
    [
        ({}, "http"),
        ({"REQUEST_SCHEME": "https"}, "https"),
        ({"HTTPS": "on"}, "https"),
        ({"HTTPS": "off"}, "http"),
        ({"headers": {"X-Forwarded-Proto": "https"}}, "http"),
    ],
)
def test_the_scheme_is_what_the_front_end_says(params: dict[str, Any], scheme: str) -> None:
    assert make(**params).scheme == scheme


@pytest.mark.parametrize("interface", app_caller.INTERFACES)
def test_a_body_is_read_as_a_file(interface: str) -> None:
    def handler(request: Request) -> list[str]:
        body = request.body
        return [body.readline().decode(), body.read(3).decode(), *(line.decode() for line in body)]

    answer = app_caller.call(App([("/$", handler)]), method="POST", body=b"one\ntwothree\nfour", interface=interface)
    assert answer.json == ["one\n", "two", "three\n", "four"]


@pytest.mark.parametrize("interface", app_caller.INTERFACES)
@pytest.mark.parametrize(
    ("content_type", "body", "status", "text"),
    [
        ("application/json", b'{"a": [1, 2.5, null]}', 200, '{"a":[1,2.5,null]}'),
        ("application/problem+json; charset=utf-8", b"[]", 200, "[]"),
        ("application/json", b"{'a'}", 400, "malformed"),
        ("application/json", b"", 400, "malformed"),
        ("application/json", b"\xff", 400, "malformed"),
        ("application/json", b"NaN", 400, "malformed"),
        ("application/json", b"[" * 5000 + b"]" * 5000, 400, "malformed"),
        ("text/plain", b"[]", 415, "application/json"),
        (None, b"[]", 415, "application/json"),
        ("application/json", b'"' + b"x" * 99 + b'"', 413, "100 bytes"),
    ],
)
def test_json_is_read_or_refused(interface: str, content_type: str | None, body: bytes, status: int, text: str) -> None:
    limits = Limits(body_bytes=100) if status == 413 else Limits()
    app = App([("/$", lambda request: request.json)], limits=limits)
    answer = app_caller.call(app, method="POST", body=body, content_type=content_type, interface=interface)
    assert answer.status == status
    assert text in answer.text


@pytest.mark.parametrize(
    ("interface", "length", "text"),
    [
        ("native", "12", "ends after 2 of 12"),
        ("wsgi", "12", "ends after 2 of 12"),
        ("wsgi", "x", "not a number"),  # fastcore itself refuses these
        ("wsgi", "-5", "not a number"),
        ("wsgi", "-1", "not a number"),
    ],
)
def test_a_content_length_that_lies_is_refused(interface: str, length: str, text: str) -> None:
    app = App([("/$", lambda request: request.json)])
    answer = app_caller.call(
        app, method="POST", body=b"{}", length=length, content_type="application/json", interface=interface
    )
    assert answer.status == 400
    assert text in answer.text


def test_data_is_the_body_up_to_its_limit_and_one_over() -> None:
    app = App([("/$", lambda request: str(len(request.data)))], limits=Limits(body_bytes=10))
    assert app_caller.call(app, method="POST", body=b"x" * 10).text == "10"
    assert app_caller.call(app, method="POST", body=b"x" * 11).status == 413


def test_a_request_without_an_application_works_alone() -> None:
    request = make(path="/a/b", script="/s", query="q=1")
    assert (request.full_path, request.path, request.query["q"]) == ("/s/a/b", "/a/b", "1")
    with pytest.raises(LookupError):
        request.get_url("x")


def test_a_wsgi_request_has_no_bytes_of_the_next_one() -> None:
    source = EnvironSource({"CONTENT_LENGTH": "3", "wsgi.input": io.BytesIO(b"abcdef")})
    assert source.body.readlines() == [b"abc"]
    assert source.body.read() == b""


def without_length(body: bytes, **more: Any) -> Request:
    """A WSGI request whose body came in chunks, as a server that streams it hands it on."""
    environ = {"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(body), "wsgi.input_terminated": True, **more}
    return Request(EnvironSource(environ))


def test_a_wsgi_body_whose_length_nobody_knows_is_read_to_its_end() -> None:
    form = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
    assert without_length(b"abc" * 1000).data == b"abc" * 1000
    assert without_length(b"abc").body.read() == b"abc"
    assert without_length(b'{"a": 1}', CONTENT_TYPE="application/json").json == {"a": 1}
    assert without_length(b"a=1&b=2", **form).form["b"] == "2"
    assert without_length(b"", CONTENT_LENGTH="").form.pairs() == ()
    assert without_length(b"abc", CONTENT_LENGTH="-1").data == b"abc"
    assert without_length(b"").data == b""
    with pytest.raises(HTTPError, match="submitted form"):
        without_length(b"something").form.pairs()


def test_a_wsgi_body_without_a_length_has_the_limit_of_any_other() -> None:
    app = App([], limits=Limits(body_bytes=10))
    assert len(Request(without_length(b"x" * 10).source, app).data) == 10
    with pytest.raises(HTTPError) as caught:
        _ = Request(without_length(b"x" * 11).source, app).data
    assert caught.value.status == 413


def test_a_wsgi_server_that_does_not_end_its_input_is_not_waited_for() -> None:
    request = Request(EnvironSource({"REQUEST_METHOD": "POST", "wsgi.input": io.BytesIO(b"of the next request")}))
    assert (request.content_length, request.data) == (0, b"")


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "1"])
def test_limits_are_positive_integers(value: Any) -> None:
    with pytest.raises(ValueError, match=r"Limits\.files"):
        Limits(files=value)


READERS: list[Callable[[Request], Any]] = [
    lambda request: request.query.pairs(),
    lambda request: request.form.pairs(),
    lambda request: request.files.pairs(),
    lambda request: request.cookies,
    lambda request: request.json,
    lambda request: dict(request.headers),
    lambda request: [request.host, request.scheme, request.remote_addr, request.content_length],
]


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "QUERY_STRING",
                "HTTP_COOKIE",
                "HTTP_HOST",
                "CONTENT_TYPE",
                "CONTENT_LENGTH",
                "HTTPS",
                "SERVER_NAME",
                "HTTP_X",
            ]
        ),
        st.text(st.characters(max_codepoint=255), max_size=60)
        | st.sampled_from(
            ["multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "application/json", "5", "-1"]
        ),
    ),
    st.binary(max_size=200),
    st.sampled_from(app_caller.INTERFACES),
)
def test_nothing_that_a_client_sends_makes_a_server_error(params: dict[str, str], body: bytes, interface: str) -> None:
    def handler(request: Request) -> str:
        statuses = []
        for read in READERS:
            try:
                read(request)
            except HTTPError as error:
                statuses.append(str(error.status))
        return " ".join(statuses)

    app = App([("/$", handler)])
    raw = {**cgi_params(length=len(body), method="POST"), **params}
    if interface == "native":
        pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in raw.items()]
        answer = app_caller.call_native(app, native_request(pairs, body))
    else:
        answer = app_caller.call_wsgi(app, raw, body)
    assert answer.status in (200, 400)
    assert set(answer.text.split()) <= {"400", "413", "415"} or answer.status == 400
