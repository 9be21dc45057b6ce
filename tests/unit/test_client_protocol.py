"""The client's sans-IO protocol: what it sends, what it makes of what comes, on both twins' record codecs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore import constants as c
from fastcore import implementation
from fastcore.client import ClientConnection, ClientLimits, Head
from fastcore.client.errors import ConnectionLost
from fastcore.client.events import (
    BodyReceived,
    ErrorsReceived,
    HeadReceived,
    ResponseEnded,
    UnknownTypeReceived,
    ValuesReceived,
)
from fastcore.errors import ProtocolError

records = implementation.twin("pure").records
HEAD = b"Content-Type: text/plain\r\n\r\n"
HEAD_EVENT = HeadReceived(1, Head(200, [("Content-Type", "text/plain")]))


@pytest.fixture(autouse=True)
def _on_both_twins(twin: implementation.Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementation, "records", twin.records, raising=False)


def connection_with_request(limits: ClientLimits | None = None, **options: object) -> ClientConnection:
    connection = ClientConnection(limits=limits or ClientLimits())
    request_id = connection.send_request({"A": "b"}, **options)  # type: ignore[arg-type]
    connection.end_body(request_id)
    connection.data_to_send()
    return connection


def events_of(connection: ClientConnection, data: bytes) -> list[object]:
    connection.receive_data(data)
    return list(iter(connection.next_event, None))


def stdout(data: bytes, request_id: int = 1) -> bytes:
    return records.build_record(c.STDOUT, request_id, data)


def end(request_id: int = 1, app_status: int = 0, protocol_status: int = 0) -> bytes:
    return records.build_end_request(request_id, app_status, protocol_status)


# --- out


def split(data: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    while data:
        kind, request_id, length, padding = records.parse_header(data)
        found.append((kind, request_id, data[8 : 8 + length]))
        data = data[8 + length + padding :]
    return found


def test_a_request_is_begin_params_and_stdin_each_stream_ended() -> None:
    connection = ClientConnection()
    request_id = connection.send_request({"REQUEST_METHOD": "POST", "NAME": "\xfc"}, keep_connection=True)
    connection.send_body(request_id, b"hello")
    connection.end_body(request_id)
    assert split(connection.data_to_send()) == [
        (c.BEGIN_REQUEST, 1, b"\0\1\1\0\0\0\0\0"),
        (c.PARAMS, 1, b"\x0e\4REQUEST_METHODPOST\4\1NAME\xfc"),
        (c.PARAMS, 1, b""),
        (c.STDIN, 1, b"hello"),
        (c.STDIN, 1, b""),
    ]
    assert connection.data_to_send() == b""


def test_long_streams_are_split_and_arrive_whole() -> None:
    connection = ClientConnection()
    request_id = connection.send_request({"LONG": "x" * 70_000}, keep_connection=False)
    connection.send_body(request_id, b"y" * 200_000)
    sent = split(connection.data_to_send())
    assert sent[0][2] == b"\0\1\0\0\0\0\0\0"
    pairs = b"".join(content for kind, _, content in sent if kind == c.PARAMS)
    assert records.parse_pairs(pairs) == [(b"LONG", b"x" * 70_000)]
    assert b"".join(content for kind, _, content in sent if kind == c.STDIN) == b"y" * 200_000


def test_a_filter_sends_stdin_then_data() -> None:
    connection = ClientConnection()
    request_id = connection.send_request({}, role=c.FILTER)
    connection.end_body(request_id)
    connection.send_body(request_id, b"file")
    connection.end_body(request_id)
    assert [kind for kind, _, _ in split(connection.data_to_send())][-3:] == [c.STDIN, c.DATA, c.DATA]
    with pytest.raises(ValueError, match="already ended"):
        connection.send_body(request_id, b"more")


def test_ids_are_the_lowest_free_ones_and_cannot_be_taken_twice() -> None:
    connection = ClientConnection()
    assert [connection.send_request({}) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="in use"):
        connection.send_request({}, request_id=2)
    with pytest.raises(ValueError, match="outside"):
        connection.send_request({}, request_id=65536)
    assert connection.send_request({}, request_id=65535) == 65535
    events_of(connection, stdout(HEAD, 2) + end(2))
    assert connection.send_request({}) == 2


@pytest.mark.parametrize(("params", "error"), [({"A": "€"}, ValueError), ({"A": 1}, TypeError), ({1: "a"}, TypeError)])
def test_parameters_that_are_no_native_strings_are_refused(params: dict[str, str], error: type[Exception]) -> None:
    with pytest.raises(error, match="CGI parameter"):
        ClientConnection().send_request(params)


# --- in


def test_an_answer_becomes_head_body_errors_and_end() -> None:
    connection = connection_with_request()
    data = (
        stdout(HEAD + b"hel")
        + records.build_record(c.STDERR, 1, b"a warning")
        + stdout(b"lo")
        + stdout(b"")
        + records.build_record(c.STDERR, 1, b"")
        + end(app_status=3)
    )
    assert not connection.idle
    assert events_of(connection, data) == [
        HEAD_EVENT,
        BodyReceived(1, b"hel"),
        ErrorsReceived(1, b"a warning"),
        BodyReceived(1, b"lo"),
        ResponseEnded(1, 3, 0),
    ]
    assert connection.idle


def test_a_connection_with_bytes_after_the_end_is_not_idle() -> None:
    connection = connection_with_request()
    events_of(connection, stdout(HEAD) + end() + b"\1")
    assert not connection.idle


def test_answers_of_several_requests_may_interleave() -> None:
    connection = connection_with_request()
    connection.send_request({})
    data = stdout(HEAD + b"one", 1) + stdout(HEAD + b"two", 2) + end(2) + stdout(b"!", 1) + end(1)
    bodies = [
        (event.request_id, event.data) for event in events_of(connection, data) if isinstance(event, BodyReceived)
    ]
    assert bodies == [(1, b"one"), (2, b"two"), (1, b"!")]


def test_a_refused_request_ends_without_a_head() -> None:
    assert events_of(connection_with_request(), end(protocol_status=c.OVERLOADED)) == [
        ResponseEnded(1, 0, c.OVERLOADED)
    ]


def test_an_aborted_request_may_end_without_a_head() -> None:
    connection = connection_with_request()
    connection.abort(1)
    assert split(connection.data_to_send()) == [(c.ABORT_REQUEST, 1, b"")]
    assert events_of(connection, end(app_status=1)) == [ResponseEnded(1, 1, 0)]


def test_values_are_asked_and_told() -> None:
    connection = ClientConnection()
    connection.get_values([c.MPXS_CONNS, c.MAX_REQS])
    assert split(connection.data_to_send()) == [
        (c.GET_VALUES, 0, records.build_pairs([(c.MPXS_CONNS, b""), (c.MAX_REQS, b"")]))
    ]
    answer = records.build_record(c.GET_VALUES_RESULT, 0, records.build_pairs([(c.MPXS_CONNS, b"1")]))
    unknown = records.build_unknown_type(99)
    assert events_of(connection, answer + answer + unknown) == [
        ValuesReceived({c.MPXS_CONNS: b"1"}),
        UnknownTypeReceived(99),
    ]


def test_records_of_other_requests_and_unknown_types_are_ignored() -> None:
    connection = connection_with_request()
    strays = stdout(b"x", 7) + end(7) + records.build_record(42, 1, b"?") + records.build_record(42, 0, b"?")
    assert events_of(connection, strays + stdout(HEAD) + end()) == [HEAD_EVENT, ResponseEnded(1, 0, 0)]


BROKEN = [
    (b"\2" + stdout(HEAD)[1:], "version 2"),
    (stdout(b"nonsense\n\n"), "not a header line"),
    (end(), "no output at all"),
    (stdout(b"Content-Type: tex") + end(app_status=9), r"appStatus 9.*Content-Type: tex"),
    (stdout(b"Content-Type: text/plain\n\nhalf") + bytes(8), r"broke the answer off"),
    (stdout(HEAD) + stdout(b"") + stdout(b"late"), "after the end of its STDOUT"),
    (stdout(HEAD) + records.build_record(c.END_REQUEST, 1, b"short"), "5 bytes instead of 8"),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN)
def test_broken_answers_are_told_and_stay_broken(data: bytes, reason: str) -> None:
    connection = connection_with_request()
    with pytest.raises(ProtocolError, match=reason):
        events_of(connection, data)
    with pytest.raises(ProtocolError, match=reason):
        events_of(connection, stdout(HEAD) + end())
    assert not connection.idle


def test_events_before_the_broken_record_are_still_told() -> None:
    connection = connection_with_request()
    connection.receive_data(records.build_record(c.STDERR, 1, b"why") + b"\0" * 8)
    assert connection.next_event() == ErrorsReceived(1, b"why")
    with pytest.raises(ProtocolError):
        connection.next_event()


@pytest.mark.parametrize(
    "flood",
    [
        records.build_record(c.STDERR, 1, b"x" * 1000),
        records.build_record(c.STDOUT, 1, b""),
        records.build_record(c.STDOUT, 9, b"x" * 1000),
        records.build_record(77, 0, b""),
    ],
)
def test_a_flood_of_records_without_a_body_is_cut_off(flood: bytes) -> None:
    connection = connection_with_request(ClientLimits(overhead=10_000))
    for _ in range(10_000 // len(flood)):
        events_of(connection, flood)
    with pytest.raises(ProtocolError, match="more than 10000 bytes"):
        events_of(connection, flood)


def test_eof_is_fine_between_requests_and_told_within_one() -> None:
    connection = connection_with_request()
    with pytest.raises(ConnectionLost, match="before the end of request 1"):
        connection.receive_eof()
    events_of(connection, stdout(HEAD) + end())
    connection.receive_eof()
    connection.receive_data(b"\1\6")
    with pytest.raises(ConnectionLost, match="within a record"):
        connection.receive_eof()


# --- any bytes in any pieces


def outcome(pieces: list[bytes]) -> tuple[list[object], bytes, str | None]:
    """(events without bodies, the body, the error): what must not depend on where the bytes are cut."""
    connection = connection_with_request(ClientLimits(head=200, header_count=5, overhead=400))
    events: list[object] = []
    body = b""
    for piece in pieces:
        connection.receive_data(piece)
        try:
            while (event := connection.next_event()) is not None:
                if isinstance(event, BodyReceived):
                    body += event.data
                else:
                    events.append(event)
        except ProtocolError as error:
            return events, body, str(error)
    return events, body, None


content = st.sampled_from([b"", HEAD, b"A: b\n", b"\n", b"body", b"Status: 999\n\nx", b"\0" * 8, b"\0\0\0\1\0\0\0\0"])
any_record = st.builds(
    records.build_record,
    st.sampled_from([c.STDOUT, c.STDOUT, c.STDERR, c.END_REQUEST, c.GET_VALUES_RESULT, c.UNKNOWN_TYPE, 200]),
    st.sampled_from([1, 1, 1, 0, 2]),
    content,
    st.integers(0, 9),
)
wire = st.one_of(
    st.binary(max_size=100), st.lists(st.one_of(any_record, any_record, st.binary(max_size=9))).map(b"".join)
)


@given(data=wire, cuts=st.lists(st.integers(0, 400), max_size=12))
def test_any_bytes_in_any_pieces_give_the_same_events_or_the_same_error(data: bytes, cuts: list[int]) -> None:
    ordered = sorted(cut for cut in cuts if cut <= len(data))
    pieces = [data[start:stop] for start, stop in zip([0, *ordered], [*ordered, len(data)], strict=True)]
    assert outcome(pieces) == outcome([data])
    assert outcome([data[at : at + 1] for at in range(len(data))]) == outcome([data])
