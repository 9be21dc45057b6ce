"""Lines 17 to 27 of the checklist: requests on connections (FastCGI 1.0 §5.1, §5.5), with and without a socket."""

from __future__ import annotations

import pytest
import wire
from conversation import feed, received
from fcgi_server import is_closed, read_answer, read_records, read_to_end

from fastcore.errors import ProtocolError
from fastcore.events import BodyEnded
from fastcore.limits import Limits


@pytest.mark.parametrize("ids", [[1], [32767], [65535], [1, 1, 1], [1, 3, 5, 0x7FFF], [65535, 1, 65535]])
def test_line_17_any_id_and_its_reuse_after_the_end(connection, ids):
    for request_id in ids:
        (request,) = received(feed(connection, wire.request(request_id)))
        connection.send_stdout(request_id, b"x")
        connection.end_request(request_id)
        assert request.request_id == request_id
        assert wire.answer(connection.data_to_send(), request_id).stdout == b"x"


def test_line_17_100_requests_on_one_connection_each_get_their_own_answer(server):
    with server.connect() as sock:
        for number in range(1, 101):
            body = b"body %d" % number
            sock.sendall(wire.request(number % 7 + 1, body, PATH_INFO="/echo"))
            assert read_answer(sock, number % 7 + 1).body == body


@pytest.mark.parametrize("kind", [wire.PARAMS, wire.STDIN, wire.ABORT, wire.DATA, wire.STDOUT])
def test_line_18_records_for_ids_that_are_not_active_are_ignored(connection, kind):
    data = wire.record(kind, 9, b"\xff" * 100) + wire.record(kind, 9) + wire.request(1)
    assert len(received(feed(connection, data))) == 1
    assert connection.data_to_send() == b""


def test_line_19_begin_on_an_active_id_is_an_error(connection):
    with pytest.raises(ProtocolError, match="is active"):
        feed(connection, wire.begin() + wire.begin())


@pytest.mark.parametrize("length", [0, 7, 9, 65535])
def test_line_20_begin_of_another_length_is_an_error(connection, length):
    with pytest.raises(ProtocolError, match="8"):
        feed(connection, wire.record(wire.BEGIN, 1, bytes(length)))


@pytest.mark.parametrize(("role", "flags"), [(3, 0), (3, 1), (0, 1), (255, 1), (65535, 0)])
def test_line_21_unsupported_role_is_answered_and_its_records_ignored(connection, role, flags):
    data = wire.begin(role=role, flags=flags) + wire.params() + wire.stdin(1, b"body")
    assert feed(connection, data) == []
    assert wire.records(connection.data_to_send()) == [(wire.END, 1, b"\0\0\0\0\3\0\0\0")]
    assert connection.closing is not bool(flags)
    assert connection.active_requests == 0


def test_line_22_second_request_where_multiplexing_is_off(twin):
    connection = twin.connection.Connection(Limits(requests_per_connection=1))
    events = feed(connection, wire.begin(1) + wire.request(2) + wire.params(1) + wire.stdin(1))
    assert [request.request_id for request in received(events)] == [1]
    assert wire.records(connection.data_to_send()) == [(wire.END, 2, b"\0\0\0\0\1\0\0\0")]


def test_line_23_too_many_multiplexed_requests_are_overloaded(twin):
    connection = twin.connection.Connection(Limits(requests_per_connection=2))
    events = feed(connection, wire.begin(1) + wire.begin(2) + wire.request(3))
    assert received(events) == []
    assert wire.records(connection.data_to_send()) == [(wire.END, 3, b"\0\0\0\0\2\0\0\0")]


@pytest.mark.parametrize("flags", [0, 1])
def test_line_24_keep_connection_decides_about_closing(connection, flags):
    (request,) = received(feed(connection, wire.request(flags=flags)))
    assert connection.closing is not bool(flags)
    assert request.keep_connection is bool(flags)


def test_line_24_connection_stays_or_closes_as_asked(server):
    for path in ("/hello", "/boom", "/early"):
        with server.connect() as sock:
            sock.sendall(wire.request(PATH_INFO=path) + wire.request(2, PATH_INFO="/hello"))
            assert read_answer(sock, 2).body == b"hello"
            sock.sendall(wire.request(3, flags=0, PATH_INFO=path))
            assert wire.answer(read_to_end(sock), 3).status in (200, 500)


@pytest.mark.parametrize("flags", [0xFE, 0xFF])
def test_line_25_other_flag_bits_are_ignored(connection, flags):
    feed(connection, wire.request(flags=flags))
    assert connection.closing is not bool(flags & 1)


def test_line_26_mixed_keep_connection_finishes_the_active_ones(connection):
    feed(connection, wire.begin(1, flags=1) + wire.begin(2, flags=0))
    assert connection.closing
    assert connection.active_requests == 2
    events = feed(connection, wire.params(1) + wire.stdin(1) + wire.params(2) + wire.stdin(2))
    assert [request.request_id for request in received(events)] == [1, 2]


def test_line_26_request_without_keep_connection_lets_the_others_finish(server):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(wire.begin(1) + wire.params(1, post) + wire.request(2, flags=0, PATH_INFO="/hello"))
        assert read_answer(sock, 2).body == b"hello"
        sock.sendall(wire.stdin(1, b"slow"))
        assert wire.answer(read_to_end(sock), 1).body == b"slow"


def test_line_27_requests_complete_out_of_order(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4"}
    data = wire.begin(1) + wire.begin(3) + wire.params(1, post) + wire.params(3, post)
    data += wire.record(wire.STDIN, 1, b"on") + wire.stdin(3, b"four") + wire.record(wire.STDIN, 1, b"e!")
    ended = [event.request.request_id for event in feed(connection, data) if isinstance(event, BodyEnded)]
    assert ended == [3, 1]


def test_line_27_multiplexed_answers_interleave(server):
    with server.connect() as sock:
        sock.sendall(
            wire.request(1, PATH_INFO="/many", QUERY_STRING="40,50000")
            + wire.request(2, PATH_INFO="/many", QUERY_STRING="40,50000")
        )
        data = b""
        while data.count(wire.record(wire.END, 1, bytes(8))) + data.count(wire.record(wire.END, 2, bytes(8))) < 2:
            data += sock.recv(1 << 20)
    order = [record.id for record in wire.records(data) if record.type == wire.STDOUT and record.content]
    assert order.count(1) == order.count(2) == 40
    assert order.index(2) < 5, "the second answer waited for the whole first one"
    assert order[-5:] != [2] * 5


def test_line_27_new_requests_do_not_hold_up_an_answer_that_has_begun(server):
    with server.connect() as sock:
        short = b"".join(wire.request(number, PATH_INFO="/hello") for number in range(2, 62))
        sock.sendall(wire.request(1, PATH_INFO="/many", QUERY_STRING="40,1000") + short)
        data = b""
        while sum(data.count(wire.record(wire.END, number, bytes(8))) for number in range(1, 62)) < 61:
            piece = sock.recv(1 << 20)
            assert piece, "the connection has ended"
            data += piece
    order = [record.id for record in wire.records(data) if record.type == wire.STDOUT and record.content]
    assert order.count(1) == 40
    assert order[: order.index(41)].count(1) >= 35, "the answer that had begun waited for the new ones"
    assert order[: order.index(41)] != sorted(order[: order.index(41)]), "the new ones waited for the answer"


def test_line_27_one_slow_stdin_stalls_nobody(server):
    with server.connect() as slow, server.connect() as other:
        slow.sendall(
            wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"})
        )
        for _ in range(20):
            other.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(other).body == b"hello"
        slow.sendall(wire.stdin(1, b"done"))
        assert read_answer(slow).body == b"done"


# Through a socket


@pytest.mark.parametrize("ids", [(1, 1, 1), (32767, 65535, 1, 65535), tuple(range(1, 40, 2))])
def test_line_17_ids_at_their_ends_again_and_rising(server, ids):
    with server.connect() as sock:
        for request_id in ids:
            sock.sendall(wire.request(request_id, b"id %d" % request_id, PATH_INFO="/echo"))
            assert read_answer(sock, request_id).body == b"id %d" % request_id


@pytest.mark.parametrize("kind", [wire.ABORT, wire.PARAMS, wire.STDIN, wire.DATA, wire.END, 99])
def test_line_18_records_for_ids_that_are_not_active_get_no_answer(server, kind):
    stray = wire.record(kind, 9, b"\xff" * 100, padding=9) + wire.record(kind, 9)
    with server.connect() as sock:
        sock.sendall(stray + wire.request(1, PATH_INFO="/hello"))
        assert wire.answer(read_records(sock, 3)).body == b"hello"
        sock.sendall(stray.replace(b"\0\x09", b"\0\x01", 1) + wire.request(9, PATH_INFO="/hello"))
        assert wire.answer(read_records(sock, 3), 9).body == b"hello"


def test_line_19_second_begin_on_an_active_id_closes_that_connection_only(server):
    with server.connect() as sock:
        sock.sendall(wire.begin() + wire.request(PATH_INFO="/hello"))
        assert is_closed(sock)
    assert server.ask(PATH_INFO="/hello").body == b"hello"


@pytest.mark.parametrize("length", [0, 7, 9, 65535])
def test_line_20_begin_of_another_length_closes_that_connection_only(server, length):
    with server.connect() as sock:
        sock.sendall(wire.record(wire.BEGIN, 1, (b"\0\1\1" + bytes(length))[:length]))
        assert is_closed(sock)
    assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_line_21_unsupported_role_leaves_a_kept_connection_usable(server):
    with server.connect() as sock:
        sock.sendall(wire.begin(role=999) + wire.params() + wire.stdin(1, b"body"))
        assert read_records(sock, 1) == [(wire.END, 1, b"\0\0\0\0\3\0\0\0")]
        sock.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(sock).body == b"hello"


def test_line_21_unsupported_role_without_keep_connection_closes(server):
    with server.connect() as sock:
        sock.sendall(wire.begin(role=999, flags=0) + wire.params() + wire.stdin())
        assert wire.records(read_to_end(sock)) == [(wire.END, 1, b"\0\0\0\0\3\0\0\0")]


def test_line_22_second_request_is_told_cant_mpx_conn_and_the_first_goes_on(start):
    server = start("native", "--limit", "requests_per_connection=1")
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(wire.begin(1) + wire.params(1, post) + wire.request(2, b"xx", PATH_INFO="/echo"))
        assert read_records(sock, 1) == [(wire.END, 2, b"\0\0\0\0\1\0\0\0")]
        sock.sendall(wire.stdin(1, b"four"))
        assert read_answer(sock).body == b"four"


def test_line_23_requests_over_the_limit_are_told_overloaded_and_the_others_go_on(start):
    server = start("native", "--limit", "requests_per_connection=2")
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(wire.begin(1) + wire.params(1, post) + wire.begin(2) + wire.params(2, post) + wire.request(3))
        assert read_records(sock, 1) == [(wire.END, 3, b"\0\0\0\0\2\0\0\0")]
        for number in (2, 1):
            sock.sendall(wire.stdin(number, b"four"))
            assert read_answer(sock, number).body == b"four"
        sock.sendall(wire.request(3, PATH_INFO="/hello"))
        assert read_answer(sock, 3).body == b"hello"


@pytest.mark.parametrize("flags", [0, 1])
def test_line_24_connection_stays_or_closes_as_asked_after_an_abort_too(server, flags):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(wire.begin(flags=flags) + wire.params(1, post) + wire.record(wire.ABORT, 1))
        assert wire.answer(read_records(sock, 2)).app_status == 1
        if flags:
            sock.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(sock).body == b"hello"
        else:
            assert is_closed(sock)


@pytest.mark.parametrize("flags", [0xFE, 0xFF])
def test_line_25_flag_bits_that_mean_nothing_are_ignored_on_the_wire(server, flags):
    with server.connect() as sock:
        sock.sendall(wire.request(flags=flags, PATH_INFO="/hello"))
        if flags & 1:
            assert read_answer(sock).body == b"hello"
            sock.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(sock).body == b"hello"
        else:
            assert wire.answer(read_to_end(sock)).body == b"hello"
