"""fastcore.flup beside flup itself: the same application, the same requests, the same answers."""

from __future__ import annotations

import importlib.util
import os

import pytest
import wire
from flup_server import FlupServer, cases_command

KINDS = ("fcgi", "fcgi_fork", "fcgi_single")
POST = {"REQUEST_METHOD": "POST"}

# name, case, body, parameters (None: not sent)
TABLE = [
    ("hello", "hello", b"", {}),
    ("generator", "chunks", b"", {}),
    ("list of several", "several", b"", {}),
    ("no body", "empty", b"", {}),
    ("redirect", "redirect", b"", {}),
    ("write()", "write", b"", {}),
    ("text instead of bytes", "text", b"", {}),
    ("text and bytes", "texts", b"", {}),
    ("bytes in the head", "bytes_head", b"", {}),
    ("repeated headers, latin-1", "cookies", b"", {}),
    ("late start_response()", "late", b"", {}),
    ("exc_info", "replaced", b"", {}),
    ("body", "echo", b"\0\xff" * 50_000, POST),
    ("body by lines", "lines", b"one\ntwo\nthree\nfour", POST),
    ("long answer", "big", b"", {}),
    ("environ", "extra", b"", {}),
    ("https", "extra", b"", {"HTTPS": "on"}),
    ("path and query", "told", b"", {"SCRIPT_NAME": "/app", "PATH_INFO": "/a", "QUERY_STRING": "x=1"}),
    ("no SCRIPT_NAME, no QUERY_STRING", "told", b"", {"PATH_INFO": "/a"}),
    ("no PATH_INFO", "told", b"", {"PATH_INFO": None, "SCRIPT_NAME": "/app", "REQUEST_URI": "/app/a/b?x=1"}),
    ("empty PATH_INFO", "told", b"", {"PATH_INFO": "", "REQUEST_URI": "/a/b"}),
    ("only REQUEST_URI", "told", b"", {"PATH_INFO": None, "REQUEST_URI": "/a?x=1&y=%20"}),
    ("SCRIPT_NAME is all", "told", b"", {"PATH_INFO": None, "SCRIPT_NAME": "/app", "REQUEST_URI": "/app"}),
    ("next to nothing", "told", b"", {"PATH_INFO": None}),
]


def shown(answer: wire.Answer) -> tuple[bytes, list[bytes], bytes]:
    """Status line, headers and body; a Content-Length that only one of them adds is compared with the body instead."""
    status, *headers = answer.head.split(b"\r\n")
    for header in headers:
        name, _, value = header.partition(b": ")
        assert name.lower() != b"content-length" or int(value) == len(answer.body)
    return status, sorted(h for h in headers if not h.lower().startswith(b"content-length:")), answer.body


def start(directory, library: str, kind: str, environment) -> FlupServer:
    directory.mkdir()
    return FlupServer(directory, cases_command(library, kind, environ={"EXTRA": "extra"}), environment).start()


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def theirs(kind, tmp_path_factory):
    """flup itself."""
    if importlib.util.find_spec("flup") is None:
        pytest.skip("flup is not installed (pip install flup)")
    server = start(tmp_path_factory.mktemp("flup") / "theirs", "flup", kind, dict(os.environ))
    yield server
    server.kill()  # its workers do not always heed SIGTERM


@pytest.fixture
def ours(kind, tmp_path, twin_environment):
    server = start(tmp_path / "ours", "fastcore.flup", kind, twin_environment)
    assert server.ask().body == b"hello"  # from now on it heeds signals
    yield server
    assert server.end() == "False"


def test_same_request_same_answer(theirs, ours):
    for name, case, body, parameters in TABLE:
        expected = theirs.ask(case, body, **parameters)
        assert shown(ours.ask(case, body, **parameters)) == shown(expected), name
        assert expected.status, name


def test_an_exception_is_a_500_without_inner_text_and_a_traceback_in_the_front_ends_log(theirs, ours):
    for case in ("boom", "boom_later"):
        for answer in (theirs.ask(case), ours.ask(case)):
            assert answer.status == 500
            assert b"inner" not in answer.stdout
            assert b"RuntimeError: inner <text>" in answer.stderr


def test_what_was_sent_before_an_exception_arrives_and_only_ours_says_that_it_is_not_all(theirs, ours):
    for answer in (theirs.ask("boom_midway"), ours.ask("boom_midway")):
        assert (answer.status, answer.body) == (200, b"so far ")
        assert b"inner <text>" in answer.stderr
    assert theirs.ask("boom_midway").app_status == 0
    assert ours.ask("boom_midway").broken


def test_complaints_go_to_the_front_end_and_to_standard_error(theirs, ours):
    for server in (theirs, ours):
        assert server.ask("complain").stderr.endswith(b"a complaint\n")
        server.wait_for(lambda server=server: "a complaint\n" in server.log, "the complaint")


@pytest.mark.parametrize(
    ("case", "parameters", "in_theirs", "in_ours"),
    [
        ("told", {"PATH_INFO": None, "REQUEST_URI": "/a%20b"}, b"'/a%20b'", b"'/a b'"),
        ("told", {"PATH_INFO": None, "SCRIPT_NAME": "/app", "REQUEST_URI": "/else/a"}, b"'e/a'", b"'PATH_INFO', ''"),
        ("hello", {"REQUEST_METHOD": "HEAD"}, b"\r\n\r\nhello", b"Content-Length: 5\r\n\r\n"),
        ("injecting", {}, b"\r\nX-Injected: yes\r\n", b"Status: 500 Internal Server Error\r\n"),
        ("proxy", {"HTTP_PROXY": "http://evil.example"}, b"evil.example", b"None"),
        ("echo", {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "x"}, b"Status: 500", b"Status: 400"),
    ],
)
def test_where_they_differ_it_is_as_documented(theirs, ours, case, parameters, in_theirs, in_ours):
    assert in_theirs in theirs.ask(case, **parameters).stdout
    answer = ours.ask(case, **parameters)
    assert in_ours in answer.stdout
    assert in_theirs not in answer.stdout
