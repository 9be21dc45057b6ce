"""The connection without a socket: what the numbered lines of tests/conformance do not say."""

from __future__ import annotations

import pytest
import wire
from conversation import feed, received
from hypothesis import given
from hypothesis import strategies as st

from fastcore.errors import ProtocolError
from fastcore.limits import Limits


@pytest.fixture
def connection(twin):
    return twin.connection.Connection()


def test_answering_a_request_that_is_not_active_is_refused(connection):
    for call in (connection.send_stdout, connection.send_stderr):
        with pytest.raises(ValueError, match="request 5 is not active"):
            call(5, b"x")
    with pytest.raises(ValueError, match="request 5 is not active"):
        connection.end_request(5)


def test_answer_that_is_not_whole_is_broken_off_with_its_connection(connection):
    connection.receive_data(wire.request(1) + wire.begin(2))
    connection.send_stdout(1, b"Status: 200 OK\r\n\r\nhalf")
    with pytest.raises(ValueError, match="other requests are active"):
        connection.break_off(1)
    connection.receive_data(wire.record(wire.ABORT, 2))
    connection.data_to_send()
    connection.break_off(1)
    assert connection.data_to_send() == bytes(8)
    assert (connection.closing, connection.active_requests, connection.phase) == (True, 0, 0)
    with pytest.raises(ProtocolError):
        connection.receive_data(wire.request(3))
    with pytest.raises(ValueError, match="not active"):
        connection.break_off(1)


def test_refusal_of_late_bodies_leaves_a_record_that_is_no_body_alone(connection):
    """A time-out in the middle of a BEGIN_REQUEST with an id in use: what has come of it is no later request's."""
    connection.receive_data(wire.begin(1) + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5"}))
    connection.receive_data(wire.begin(1)[:13])
    connection.refuse_bodies(408)
    with pytest.raises(ProtocolError, match="request 1, which is active"):
        connection.receive_data(wire.begin(1)[13:])


def test_http_proxy_never_arrives(connection):
    (request,) = received(feed(connection, wire.begin() + wire.params(1, {"HTTP_PROXY": "http://evil", "A": "b"})))
    assert request.environ == {"A": "b"}
    assert request.params == ((b"A", b"b"),)
    assert request.get("HTTP_PROXY") is None


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(1, 50), max_size=20))
def test_only_protocol_errors_escape(twin, data, cuts):
    connection = twin.connection.Connection(Limits(params_bytes=200))
    try:
        for cut in cuts:
            connection.receive_data(data[:cut])
            data = data[cut:]
        connection.receive_data(data)
    except ProtocolError:
        pass
    wire.records(connection.data_to_send())  # whole records, whatever happened


@pytest.mark.parametrize("name", ["send_stdout", "send_stderr"])
def test_none_is_not_sent(connection, name):
    connection.receive_data(wire.begin() + wire.params())
    with pytest.raises(TypeError):
        getattr(connection, name)(1, None)


def test_none_is_not_parsed(twin):
    with pytest.raises(TypeError):
        twin.records.parse_pairs(None)


def test_input_that_is_thrown_away_does_not_count_as_a_beginning_request(twin):
    """A client that still sends its refused body has no PARAMS to hurry with."""
    connection = twin.connection.Connection()
    body = wire.record(wire.STDIN, 1, bytes(1000))
    connection.receive_data(wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "5000"}))
    connection.end_request(1)
    connection.receive_data(body[:500])
    assert connection.phase == twin.connection.IDLE
    connection.receive_data(body[500:] + wire.begin(2)[:12])
    assert connection.phase == twin.connection.PHASE_PARAMS


def test_last_piece_of_a_body_may_end_its_request(twin):
    """An owner that has no room for it."""

    class Owner(twin.connection.Connection):
        ended = 0

        def on_body(self, request, data):
            self.end_request(request.request_id)

        def on_body_end(self, request):
            self.ended += 1

    owner = Owner()
    owner.receive_data(wire.request(1, b"body"))
    assert (owner.ended, owner.active_requests, owner.phase) == (0, 0, twin.connection.IDLE)
