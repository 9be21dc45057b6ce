"""Error pages: well-formed, in the form that the client wants; an id in page and log, a traceback in the log only."""

from __future__ import annotations

import functools
import logging
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import app_caller
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework import App, HTTPError, Request, Response
from framework.errors import STYLE, ErrorPage, style_hash

Call = Callable[..., app_caller.Answer]


@pytest.fixture(params=app_caller.INTERFACES)
def call(request: pytest.FixtureRequest) -> Call:
    return functools.partial(app_caller.call, interface=request.param)


def fail(request: Request) -> str:
    password = "hunter2"
    raise RuntimeError(f"the vault <b> is open: {len(password)}")


def refuse(request: Request) -> str:
    raise HTTPError(403, "Ask the administrator.")


def make_app() -> App:
    return App([("/fail$", fail), ("/refuse$", refuse)])


def error_id_of(text: str) -> str:
    found = re.search(r"Error id: <code>([0-9a-f]{10})</code>", text)
    assert found is not None
    return found[1]


def test_a_failure_shows_an_id_that_finds_it_in_the_log(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    answer = call(make_app(), "/fail", query="token=secret")
    assert answer.status == 500
    assert "vault" not in answer.text
    assert "Traceback" not in answer.text
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("framework", logging.ERROR)
    assert f"error {error_id_of(answer.text)} in GET /fail: RuntimeError" in record.getMessage()
    assert "the vault <b> is open: 7" in caplog.text
    assert "hunter2" not in caplog.text.replace('password = "hunter2"', "")
    assert "secret" not in caplog.text


def test_in_development_the_page_has_the_traceback(call: Call) -> None:
    app = make_app()
    app.mount(development=True)
    answer = call(app, "/fail")
    assert "Traceback (most recent call last)" in answer.text
    assert "RuntimeError: the vault &lt;b&gt; is open: 7" in answer.text
    ElementTree.fromstring(answer.body)


def test_a_client_cannot_write_lines_into_the_log(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    app = App([(r"/(?s:.*)$", fail)])
    call(app, "/x\nerror 0000000000: forged\x1b[2J")
    assert "\\nerror 0000000000: forged\\x1b[2J" in caplog.records[0].getMessage()
    assert "\n" not in caplog.records[0].getMessage()


def test_expected_errors_are_not_logged(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/refuse", "/nowhere"):
        answer = call(make_app(), path)
        assert "Error id" not in answer.text
    assert not caplog.records


@pytest.mark.parametrize(
    ("path", "status", "text"), [("/refuse", 403, "Ask the administrator."), ("/no", 404, "nothing at")]
)
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/xhtml+xml; charset=utf-8"),
        ("application/xhtml+xml;q=0.5, text/html", "text/html; charset=utf-8"),
        ("image/png", "text/html; charset=utf-8"),
        ("application/json, text/html", "text/html; charset=utf-8"),
    ],
)
def test_pages_come_in_the_form_that_the_client_wants(
    call: Call, path: str, status: int, text: str, accept: str | None, content_type: str
) -> None:
    answer = call(make_app(), path, headers={"Accept": accept} if accept else {})
    assert (answer.status, answer.get("Content-Type"), answer.get("Vary")) == (status, content_type, "Accept")
    assert text in answer.text
    root = ElementTree.fromstring(answer.body)
    assert root.tag == "{http://www.w3.org/1999/xhtml}html"
    assert "script" not in answer.text
    assert "prefers-color-scheme:dark" in answer.text


@pytest.mark.parametrize(
    "accept", ["application/json", "application/json, text/plain, */*", "application/problem+json"]
)
def test_a_client_that_wants_json_gets_a_problem_document(call: Call, accept: str) -> None:
    answer = call(make_app(), "/refuse", headers={"Accept": accept})
    assert (answer.status, answer.get("Content-Type")) == (403, "application/problem+json")
    assert answer.json == {"title": "Forbidden", "status": 403, "detail": "Ask the administrator."}
    failed = call(make_app(), "/fail", headers={"Accept": accept})
    assert failed.json.keys() == {"title", "status", "detail", "id"}


def test_a_head_request_has_no_error_body(call: Call) -> None:
    answer = call(make_app(), "/nowhere", "HEAD")
    assert (answer.status, answer.body) == (404, b"")
    assert int(answer.get("Content-Length") or 0) > 100


@given(st.text(), st.text())
def test_an_error_page_is_well_formed_whatever_it_says(text: str, traceback: str) -> None:
    page = ErrorPage(500, text, "0", traceback).encode()
    ElementTree.fromstring(page)


def test_the_hash_of_the_style_is_what_a_browser_computes() -> None:
    import base64
    import hashlib

    page = ErrorPage(404, "").encode().decode()
    inside = page.partition("<style>")[2].partition("</style>")[0]
    assert inside == STYLE
    assert style_hash() == "'sha256-" + base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode() + "'"


@pytest.mark.parametrize(
    "host", ["a b", "a/b", "evil.example\r\nX: y", "a@b", "<x>", "a:b:c", "a:123456", "..", "é", "[::1"]
)
def test_a_hostile_host_is_refused(call: Call, host: str) -> None:
    ran: list[str] = []
    app = App([("/$", lambda request: ran.append(request.host))])
    answer = call(app, host=host)
    assert answer.status == 400
    assert "Host header" in answer.text
    assert not ran


@pytest.mark.parametrize("status", [200, 399, 600, "404", 404.0])
def test_an_http_error_has_an_error_status(status: Any) -> None:
    with pytest.raises(ValueError, match="400 to 599"):
        HTTPError(status)


def test_an_http_error_takes_no_header_that_begins_another() -> None:
    with pytest.raises(ValueError, match="X-A"):
        HTTPError(400, headers=[("X-A", "b\r\nSet-Cookie: c=d")])


def test_a_header_that_was_smuggled_in_is_a_failure_not_an_answer(call: Call, caplog: pytest.LogCaptureFixture) -> None:
    def handler(request: Request) -> Response:
        response = Response.text("x")
        response.headers.append(("X-A", "b\r\nSet-Cookie: c=d"))
        return response

    answer = call(App([("/$", handler)]))
    assert (answer.status, answer.get("X-A"), answer.get("Set-Cookie")) == (500, None, None)
    assert "the value of header 'X-A'" in caplog.text


def test_what_ends_the_process_is_not_caught() -> None:
    def stop(request: Request) -> str:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        app_caller.call(App([("/$", stop)]))
