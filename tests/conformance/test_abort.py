"""Lines 53 to 57 of the checklist: aborts and closed connections (FastCGI 1.0 §5.4), with and without a socket."""

from __future__ import annotations

import socket

import pytest
import wire
from conversation import feed, story
from fcgi_server import read_answer, read_records, read_to_end

from fastcore.events import RequestAborted


def test_line_53_abort_before_the_end_of_params(connection):
    assert feed(connection, wire.begin() + wire.record(wire.ABORT, 1)) == []
    assert wire.answer(connection.data_to_send()).app_status == 1
    assert connection.active_requests == 0


def test_line_53_abort_during_stdin_and_after_the_end(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "8"}
    events = feed(connection, wire.begin() + wire.params(1, post) + wire.record(wire.STDIN, 1, b"four"))
    events += feed(connection, wire.record(wire.ABORT, 1) + wire.record(wire.ABORT, 1) + wire.stdin(1, b"more"))
    assert isinstance(events[-1], RequestAborted)
    assert [type(event) for event in events].count(RequestAborted) == 1
    assert wire.answer(connection.data_to_send()).app_status == 1
    feed(connection, wire.record(wire.ABORT, 1) + wire.record(wire.ABORT, 77))
    assert connection.data_to_send() == b""


def test_line_53_abort_while_running_gets_exactly_one_end(server, tmp_path):
    closed = tmp_path / "closed"
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING=f"100000,0.01,{closed}"))
        first = sock.recv(100)
        sock.sendall(wire.record(wire.ABORT, 1))
        data = first
        while wire.record(wire.END, 1, b"\0\0\0\1\0\0\0\0") not in data:
            data += sock.recv(65536)
        sock.sendall(wire.record(wire.ABORT, 1) + wire.request(2, PATH_INFO="/hello"))
        assert read_answer(sock, 2).body == b"hello"
    assert closed.read_text() == "closed\n"


def test_line_54_abort_of_one_leaves_the_others(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4"}
    data = wire.begin(1) + wire.begin(2) + wire.params(1, post) + wire.params(2, post) + wire.record(wire.ABORT, 1)
    told = story(feed(connection, data + wire.stdin(2, b"four")))
    assert told[-2:] == [("body", 2, b"four"), ("BodyEnded", 2)]
    assert connection.is_active(2)
    assert not connection.is_active(1)


def test_line_54_abort_of_one_multiplexed_request_leaves_the_others(server):
    with server.connect() as sock:
        sock.sendall(
            wire.request(1, PATH_INFO="/slow", QUERY_STRING="100000,0.01")
            + wire.request(2, PATH_INFO="/slow", QUERY_STRING="20,0.01")
        )
        sock.recv(10)
        sock.sendall(wire.record(wire.ABORT, 1))
        data = b""
        while wire.record(wire.END, 2, bytes(8)) not in data:
            data += sock.recv(65536)
    assert wire.record(wire.END, 1, b"\0\0\0\1\0\0\0\0") in data


def test_line_55_peer_gone_in_mid_request_closes_the_body_and_kills_nobody(start, tmp_path):
    server = start()
    closed = tmp_path / "closed"
    server.settle()
    before = server.descriptors()
    for _ in range(5):
        with server.connect() as sock:
            sock.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING=f"100000,0.01,{closed}"))
            sock.recv(1)
    server.wait_for(lambda: closed.exists() and closed.read_text() == "closed\n" * 5, "close() of five bodies")
    with server.connect() as sock:
        sock.sendall(wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "10"}))
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    server.wait_for(lambda: server.descriptors() == before, "the connections' descriptors")


def test_line_56_half_close_after_the_request_still_gets_the_whole_answer(server):
    for flags in (0, 1):
        with server.connect() as sock:
            sock.sendall(wire.request(flags=flags, PATH_INFO="/slow", QUERY_STRING="5,0.02"))
            sock.shutdown(socket.SHUT_WR)
            assert wire.answer(read_to_end(sock)).body == b"01234"


def test_line_57_client_that_leaves_before_the_end_is_no_news(start):
    server = start()
    for _ in range(20):
        with server.connect() as sock:
            sock.sendall(wire.request(flags=0, PATH_INFO="/big", QUERY_STRING="200000"))
            sock.recv(100)
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert server.log.count("\n") == 1, server.log  # the line that says it is up


POST = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (wire.begin(), b""),
        (wire.begin() + wire.record(wire.PARAMS, 1, wire.pair(b"A", b"b")), b""),
        (wire.begin() + wire.params(1, POST), wire.stdin(1, b"four")),
        (wire.begin() + wire.params(1, POST) + wire.record(wire.STDIN, 1, b"fo"), wire.stdin(1, b"ur")),
    ],
    ids=["before-params", "during-params", "before-stdin", "during-stdin"],
)
def test_line_53_abort_of_unfinished_input_is_answered_once_and_by_nothing_else(server, before, after):
    abort = wire.record(wire.ABORT, 1)
    with server.connect() as sock:
        sock.sendall(before + abort + abort + after + wire.record(wire.ABORT, 77) + abort)
        found = read_records(sock, 2)
        assert found == [(wire.STDOUT, 1, b""), (wire.END, 1, b"\0\0\0\1\0\0\0\0")]
        sock.sendall(wire.request(1, PATH_INFO="/hello"))
        assert wire.answer(read_records(sock, 3)).body == b"hello"


def test_line_53_abort_after_the_end_and_of_an_unknown_id_gets_no_answer(server):
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(sock).body == b"hello"
        sock.sendall(wire.record(wire.ABORT, 1) + wire.record(wire.ABORT, 2) + wire.request(3, PATH_INFO="/hello"))
        assert wire.answer(read_records(sock, 3), 3).body == b"hello"
