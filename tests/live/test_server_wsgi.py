"""WSGI (PEP 3333) through a real server, checked by the standard library's validator, on both twins."""

from __future__ import annotations

import pytest
import wire
from fcgi_server import Server


@pytest.fixture
def server(tmp_path, twin_environment):
    with Server(tmp_path, twin_environment, "wsgi") as server:
        yield server


def test_wsgiref_validate_has_nothing_to_say(tmp_path, twin_environment):
    with Server(tmp_path, twin_environment, "valid") as server:
        for path in ("/", "/write", "/chunks", "/errors"):
            answer = server.ask(
                PATH_INFO=path, SERVER_NAME="localhost", SERVER_PORT="80", SCRIPT_NAME="", QUERY_STRING=""
            )
            assert answer.status == 200, server.log
        answer = server.ask(
            wire.request(
                1,
                b"abc",
                flags=0,
                PATH_INFO="/",
                SERVER_NAME="localhost",
                SERVER_PORT="80",
                SCRIPT_NAME="",
                QUERY_STRING="",
            )
        )
        assert answer.body == b"hello"
        assert "Error" not in server.log


def test_status_and_headers_as_given(server):
    assert server.ask(PATH_INFO="/").head == b"Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5"
    assert server.ask(PATH_INFO="/replace").head.startswith(b"Status: 503 Sorry\r\n")


def test_write_comes_before_what_is_returned(server):
    assert server.ask(PATH_INFO="/write").body == b"written first returned"


def test_start_response_may_be_called_late_by_a_generator(server):
    answer = server.ask(PATH_INFO="/lazy")
    assert (answer.status, answer.body) == (201, b"lazily")


def test_exc_info_replaces_the_head_until_the_first_byte_and_breaks_the_answer_after_it(server):
    answer = server.ask(PATH_INFO="/replace-while-iterating")
    assert answer.head.startswith(b"Status: 500 Oops")
    assert answer.body == b"replaced"
    assert answer.broken
    assert "after the first byte" in server.log


@pytest.mark.parametrize(
    ("path", "words"), [("/twice", "a second time without exc_info"), ("/never", "without calling start_response")]
)
def test_misuse_of_start_response_is_a_500_and_explained_in_the_log(server, path, words):
    assert server.ask(PATH_INFO=path).status == 500
    assert words in server.log


def test_input_reads_as_a_file(server):
    body = b"one\ntwo three\nfour\nfive"
    answer = server.ask(wire.request(1, body, flags=0, PATH_INFO="/input"))
    assert answer.body == b"one|\n|two |three\nfour\nfive|"


def test_errors_arrive_at_the_front_end(server):
    assert server.ask(PATH_INFO="/errors").stderr == b"written\nline one\nline two\n"


def test_body_is_closed_once(server, tmp_path):
    answer = server.ask(PATH_INFO="/chunks", QUERY_STRING=str(tmp_path / "closed"))
    assert answer.body == b"000001111122222"
    assert (tmp_path / "closed").read_text() == "closed\n"


def test_file_wrapper_sends_the_file_and_closes_it(server, tmp_path):
    content = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(content)
    server.settle()
    before = server.descriptors()
    assert server.ask(PATH_INFO="/file", QUERY_STRING=str(tmp_path / "file")).body == content
    assert server.descriptors() == before


def test_environment_says_what_is_true(server):
    keys = dict(eval(server.ask(PATH_INFO="/keys", HTTPS="on").body))
    assert keys == {
        "wsgi.version": "(1, 0)",
        "wsgi.input_terminated": "True",
        "wsgi.url_scheme": "'https'",
        "wsgi.multithread": "False",
        "wsgi.multiprocess": "False",
        "wsgi.run_once": "False",
    }
