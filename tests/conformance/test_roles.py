"""The lines of the conformance checklist about roles, overload and awaited input, as far as they need no socket."""

from __future__ import annotations

import pytest
import wire

from fastcore.constants import AUTHORIZER, FILTER, RESPONDER
from fastcore.errors import ProtocolError
from fastcore.events import BodyEnded, BodyReceived, DataEnded, DataReceived, RequestReceived, RequestRefused
from fastcore.limits import Limits

POST = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4"}
FILE = {"FCGI_DATA_LENGTH": "9", "FCGI_DATA_LAST_MOD": "1700000000"}


@pytest.fixture
def connection(twin):
    return twin.connection.Connection(roles=(RESPONDER, AUTHORIZER, FILTER))


def kinds(events):
    return [type(event) for event in events]


@pytest.mark.parametrize("role", [AUTHORIZER, FILTER])
def test_line_21_other_roles_than_the_responder_have_to_be_asked_for(twin, role):
    connection = twin.connection.Connection()
    assert connection.receive_data(wire.begin(role=role) + wire.params() + wire.stdin()) == []
    assert wire.answer(connection.data_to_send()).protocol_status == 3


def test_line_21_a_server_may_be_no_responder(twin):
    connection = twin.connection.Connection(roles=(AUTHORIZER,))
    connection.receive_data(wire.begin(1) + wire.begin(2, role=AUTHORIZER) + wire.params(2))
    assert wire.answer(connection.data_to_send(), 1).protocol_status == 3
    assert connection.is_active(2)


def test_line_23_overload_as_a_page(twin):
    connection = twin.connection.Connection(Limits(requests_per_connection=2), overload="page")
    connection.receive_data(b"".join(wire.begin(number) for number in (1, 2, 3)))
    answer = wire.answer(connection.data_to_send(), 3)
    assert (answer.status, answer.protocol_status, answer.body) == (503, 0, b"503 Service Unavailable\n")
    assert b"\r\nRetry-After: 1\r\n" in answer.head + b"\r\n"
    assert not connection.is_active(3)


def test_line_23_one_request_at_a_time_is_said_by_the_protocol_whatever_the_option(twin):
    connection = twin.connection.Connection(Limits(requests_per_connection=1), overload="page")
    connection.receive_data(wire.begin(1) + wire.begin(2))
    assert wire.answer(connection.data_to_send(), 2).protocol_status == 1


@pytest.mark.parametrize("length", [None, "", "4", "nonsense"])
@pytest.mark.parametrize("end", [b"", wire.record(wire.STDIN, 1), wire.stdin(1, b"who knows why")])
def test_line_36_authorizer_without_stdin_and_with_an_empty_one(connection, length, end):
    parameters = {"REQUEST_METHOD": "POST"} | ({} if length is None else {"CONTENT_LENGTH": length})
    begun = connection.receive_data(wire.begin(role=AUTHORIZER) + wire.params(1, parameters))
    assert kinds(begun) == [RequestReceived, BodyEnded]
    request = begun[0].request
    assert (request.role, request.content_length, request.body.read()) == (AUTHORIZER, 0, b"")
    assert request.environ["FCGI_ROLE"] == "AUTHORIZER"
    connection.send_stdout(1, b"Status: 200 OK\r\n\r\n")
    connection.end_request(1)
    assert connection.receive_data(end) == []
    assert wire.answer(connection.data_to_send()).status == 200
    assert connection.input_pending is (end == b"")


def test_line_42_filter_gets_its_file_after_stdin(connection):
    data = wire.begin(role=FILTER) + wire.params(1, POST | FILE) + wire.stdin(1, b"body")
    events = connection.receive_data(data)
    assert kinds(events) == [RequestReceived, BodyReceived, BodyEnded]
    assert connection.phase == 2, "the file is waited for as a body is"
    events = connection.receive_data(wire.record(wire.DATA, 1, b"some") + wire.record(wire.DATA, 1, b"thing"))
    assert b"".join(event.data for event in events) == b"something"
    assert kinds(events) == [DataReceived] * 2
    assert kinds(connection.receive_data(wire.record(wire.DATA, 1))) == [DataEnded]


def test_line_42_filter_without_a_body(connection):
    events = connection.receive_data(wire.begin(role=FILTER) + wire.params(1, FILE))
    assert kinds(events) == [RequestReceived, BodyEnded]
    events = connection.receive_data(
        wire.record(wire.STDIN, 1) + wire.record(wire.DATA, 1, b"x") + wire.record(wire.DATA, 1)
    )
    assert kinds(events) == [DataReceived, DataEnded]


@pytest.mark.parametrize("parameters", [POST, {"REQUEST_METHOD": "POST"}])
def test_line_42_file_before_the_end_of_stdin_is_an_error(connection, parameters):
    connection.receive_data(wire.begin(role=FILTER) + wire.params(1, parameters))
    with pytest.raises(ProtocolError, match="DATA before the end of STDIN"):
        connection.receive_data(wire.record(wire.DATA, 1, b"x"))


def test_line_43_what_is_announced_of_the_file_is_exposed(connection):
    (event, *_) = connection.receive_data(wire.begin(role=FILTER) + wire.params(1, FILE))
    assert (event.request.data_length, event.request.data_last_modified) == (9, 1_700_000_000)
    assert event.request.environ["FCGI_ROLE"] == "FILTER"
    (event, *_) = connection.receive_data(wire.begin(2, role=FILTER) + wire.params(2, {}))
    assert (event.request.data_length, event.request.data_last_modified) == (-1, -1)


@pytest.mark.parametrize("name", ["FCGI_DATA_LENGTH", "CONTENT_LENGTH"])
def test_line_43_nonsense_is_refused(connection, name):
    (event,) = connection.receive_data(wire.begin(role=FILTER) + wire.params(1, {name: "many"}))
    assert (type(event), event.status) == (RequestRefused, 400)


@pytest.mark.parametrize("declared", [True, False])
def test_line_43_file_over_the_limit_is_refused(twin, declared):
    for size, refused in ((1000, False), (1001, True)):
        connection = twin.connection.Connection(Limits(body=1000), roles=(FILTER,))
        data = wire.begin(role=FILTER) + wire.params(1, {"FCGI_DATA_LENGTH": str(size)} if declared else {})
        data += wire.record(wire.STDIN, 1) + wire.record(wire.DATA, 1, bytes(600))
        data += wire.record(wire.DATA, 1, bytes(size - 600)) + wire.record(wire.DATA, 1)
        events = connection.receive_data(data)
        assert [event.status for event in events if isinstance(event, RequestRefused)] == [413] * refused
        assert (DataEnded in kinds(events)) is not refused


def test_line_44_early_answer_drains_the_file(connection):
    connection.receive_data(wire.begin(role=FILTER) + wire.params(1, FILE) + wire.stdin())
    connection.send_stdout(1, b"early")
    connection.end_request(1)
    assert connection.receive_data(wire.record(wire.DATA, 1, b"some")) == []
    assert connection.input_pending
    assert connection.receive_data(wire.record(wire.DATA, 1, b"thing") + wire.record(wire.DATA, 1)) == []
    assert not connection.input_pending
    assert wire.answer(connection.data_to_send()).stdout == b"early"


def test_line_45_data_for_an_authorizer_is_ignored(connection):
    data = wire.begin(role=AUTHORIZER) + wire.record(wire.DATA, 1, b"x") + wire.params(1) + wire.record(wire.DATA, 1)
    assert kinds(connection.receive_data(data)) == [RequestReceived, BodyEnded]


# Input of requests that have ended


def end_early(connection, request_id):
    connection.receive_data(wire.begin(request_id) + wire.params(request_id, POST))
    connection.end_request(request_id)


@pytest.mark.parametrize("ending", [wire.stdin(1, b"four"), wire.record(wire.ABORT, 1), wire.begin(1)])
def test_line_39_awaited_input_ends_with_its_stream_or_its_request(connection, ending):
    end_early(connection, 1)
    assert connection.input_pending
    connection.receive_data(ending)
    assert not connection.input_pending


def test_line_39_each_request_has_its_own_input(connection):
    end_early(connection, 1)
    end_early(connection, 3)
    connection.receive_data(wire.record(wire.STDIN, 3) + wire.record(wire.STDIN, 5))
    assert connection.input_pending
    connection.receive_data(wire.record(wire.STDIN, 1))
    assert not connection.input_pending


def test_line_39_input_of_a_refused_request_is_awaited(connection):
    connection.receive_data(wire.begin(role=9) + wire.params())
    assert connection.input_pending
    connection.receive_data(wire.stdin())
    assert not connection.input_pending


def test_line_39_clients_that_never_end_their_streams_cost_a_bounded_list(twin):
    connection = twin.connection.Connection()
    for number in range(1, twin.connection.MAX_DRAINING + 500):
        connection.receive_data(wire.begin(number) + wire.params(number, POST))
        connection.end_request(number)
    for number in range(500, twin.connection.MAX_DRAINING + 500):
        assert connection.input_pending, number
        connection.receive_data(wire.record(wire.STDIN, number))
    assert not connection.input_pending
