"""Lines 9 to 16 of the checklist: management records (FastCGI 1.0 §4), without a socket and through one."""

from __future__ import annotations

import pytest
import wire
from conversation import feed, received, values
from fcgi_server import is_closed, read_answer, read_records

from fastcore.errors import ProtocolError
from fastcore.limits import Limits


def test_line_09_get_values_before_during_and_between_requests(connection):
    ask = wire.record(wire.GET_VALUES, 0, wire.pairs({"FCGI_MPXS_CONNS": "", "NONSENSE": "", "FCGI_MAX_REQS": ""}))
    data = ask + wire.begin() + ask + wire.params() + ask + wire.stdin() + ask
    events = feed(connection, data)
    assert len(received(events)) == 1
    answers = wire.records(connection.data_to_send())
    assert len(answers) == 4
    assert len({record.content for record in answers}) == 1
    assert [name for name, _ in values(b"".join(wire.record(*answers[0]) for _ in range(1)))] == [
        b"FCGI_MAX_REQS",
        b"FCGI_MPXS_CONNS",
    ]


def test_line_09_each_name_is_answered_once_however_often_it_is_asked(connection):
    feed(connection, wire.record(wire.GET_VALUES, 0, wire.pair(b"FCGI_MAX_CONNS", b"") * 1000))
    assert values(connection.data_to_send()) == [(b"FCGI_MAX_CONNS", b"1000")]


def test_line_10_empty_get_values_has_an_empty_result(connection):
    feed(connection, wire.record(wire.GET_VALUES, 0))
    assert values(connection.data_to_send()) == []


def test_line_11_values_are_the_limits(twin):
    limits = Limits(connections=7, requests_per_connection=1)
    connection = twin.connection.Connection(limits, workers=3)
    names = ("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")
    feed(connection, wire.record(wire.GET_VALUES, 0, wire.pairs(dict.fromkeys(names, ""))))
    assert values(connection.data_to_send()) == [
        (b"FCGI_MAX_CONNS", b"21"),
        (b"FCGI_MAX_REQS", b"21"),
        (b"FCGI_MPXS_CONNS", b"0"),
    ]


@pytest.mark.parametrize("content", [b"\x05", b"\x05\x00abc", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x80\0\0"])
def test_line_12_malformed_pairs_in_get_values_are_an_error(connection, content):
    with pytest.raises(ProtocolError):
        feed(connection, wire.record(wire.GET_VALUES, 0, content))


@pytest.mark.parametrize("kind", [0, 3, 6, 7, 10, 11, 12, 255])
def test_line_13_unknown_management_type_is_answered(connection, kind):
    feed(connection, wire.record(kind, 0, b"whatever"))
    assert wire.records(connection.data_to_send()) == [(wire.UNKNOWN, 0, bytes((kind, 0, 0, 0, 0, 0, 0, 0)))]


@pytest.mark.parametrize("kind", [0, 3, 6, 7, 8, 9, 10, 11, 12, 255])
def test_line_14_unknown_type_on_a_request_is_ignored(connection, kind):
    events = feed(connection, wire.begin() + wire.record(kind, 1, b"whatever") + wire.params() + wire.stdin())
    assert len(received(events)) == 1
    assert connection.data_to_send() == b""


def test_line_15_get_values_neither_closes_nor_uses_up_the_connection(connection):
    feed(connection, wire.record(wire.GET_VALUES, 0))
    assert not connection.closing
    assert len(received(feed(connection, wire.request()))) == 1


@pytest.mark.parametrize("kind", [wire.BEGIN, wire.ABORT, wire.PARAMS, wire.STDIN, wire.DATA])
def test_line_16_application_records_need_a_request_id(connection, kind):
    with pytest.raises(ProtocolError, match="needs a request id"):
        feed(connection, wire.record(kind, 0, bytes(8)))


# Through a socket

NAMES = ("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")


def test_line_09_get_values_is_answered_before_during_and_between_requests(server):
    ask = wire.record(wire.GET_VALUES, 0, wire.pairs(dict.fromkeys(("NONSENSE", *NAMES), "")))
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        for before, after in ((b"", wire.begin()), (wire.params(1, post), wire.record(wire.STDIN, 1, b"fo"))):
            sock.sendall(before + ask + after)
            (record,) = read_records(sock, 1)
            assert [name.decode() for name, _ in values(wire.record(*record))] == list(NAMES)
        sock.sendall(wire.stdin(1, b"ur"))
        assert read_answer(sock).body == b"four"
        sock.sendall(ask + wire.request(PATH_INFO="/hello"))
        found = read_records(sock, 4)
    assert found[0].type == wire.GET_VALUES_RESULT
    assert wire.answer(found[1:]).body == b"hello"


def test_line_10_empty_get_values_has_an_empty_result_on_the_wire(server):
    with server.connect() as sock:
        sock.sendall(wire.record(wire.GET_VALUES, 0))
        assert read_records(sock, 1) == [(wire.GET_VALUES_RESULT, 0, b"")]


def test_line_11_values_of_a_server_are_its_limits_and_workers(start):
    server = start("native", "--workers", "3", "--limit", "connections=7", "--limit", "requests_per_connection=5")
    with server.connect() as sock:
        sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pairs(dict.fromkeys(NAMES, ""))))
        (record,) = read_records(sock, 1)
    assert values(wire.record(*record)) == [
        (b"FCGI_MAX_CONNS", b"21"),
        (b"FCGI_MAX_REQS", b"105"),
        (b"FCGI_MPXS_CONNS", b"1"),
    ]


@pytest.mark.parametrize("content", [b"\x05", b"\x05\x00abc", b"\xff" * 8, b"\x80\0\0"])
def test_line_12_malformed_pairs_close_that_connection_only(server, content):
    with server.connect() as sock:
        sock.sendall(wire.record(wire.GET_VALUES, 0, content))
        assert is_closed(sock)
    assert server.ask(PATH_INFO="/hello").body == b"hello"


@pytest.mark.parametrize("kind", [0, 3, 10, 11, 12, 255])
def test_line_13_unknown_management_type_is_answered_and_the_connection_goes_on(server, kind):
    with server.connect() as sock:
        sock.sendall(wire.record(kind, 0, b"whatever", padding=3))
        assert read_records(sock, 1) == [(wire.UNKNOWN, 0, bytes((kind, 0, 0, 0, 0, 0, 0, 0)))]
        sock.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(sock).body == b"hello"


@pytest.mark.parametrize("kind", [0, 3, 6, 7, 9, 10, 11, 12, 255])
def test_line_14_unknown_type_on_a_request_gets_no_answer_of_its_own(server, kind):
    stray = wire.record(kind, 1, b"whatever")
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(wire.begin() + stray + wire.params(1, post) + stray + wire.stdin(1, b"four") + stray)
        assert wire.answer(read_records(sock, 3)).body == b"four"


def test_line_15_connection_lives_on_after_get_values(server):
    """A front end that asks first, then sends its requests on the same connection (HAProxy)."""
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pair(b"FCGI_MAX_REQS", b"")))
            assert read_records(sock, 1)[0].type == wire.GET_VALUES_RESULT
            sock.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(sock).body == b"hello"


@pytest.mark.parametrize("kind", [wire.BEGIN, wire.ABORT, wire.PARAMS, wire.STDIN, wire.DATA])
def test_line_16_application_record_on_id_0_closes_that_connection_only(server, kind):
    with server.connect() as sock:
        sock.sendall(wire.record(kind, 0, b"\0\1\1" + bytes(5)))
        assert is_closed(sock)
    assert server.ask(PATH_INFO="/hello").body == b"hello"
