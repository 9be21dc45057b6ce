"""The conformance checklist, as far as it needs no socket: each test's name carries the line's number."""

from __future__ import annotations

import pytest
import wire
from hypothesis import given
from hypothesis import strategies as st

from fastcore.errors import ProtocolError
from fastcore.events import BodyEnded, BodyReceived, RequestAborted, RequestReceived, RequestRefused
from fastcore.limits import Limits


def feed(connection, data, step=None):
    """All events of `data`, given whole or in steps of so many bytes."""
    step = step or len(data) or 1
    return [
        event for start in range(0, len(data), step) for event in connection.receive_data(data[start : start + step])
    ]


def story(events):
    """Events as comparable values, pieces of body joined."""
    told = []
    for event in events:
        request_id = event.request.request_id
        if isinstance(event, BodyReceived) and told and told[-1][:2] == ("body", request_id):
            told[-1] = ("body", request_id, told[-1][2] + event.data)
        elif isinstance(event, BodyReceived):
            told.append(("body", request_id, event.data))
        elif isinstance(event, RequestReceived):
            told.append(("request", request_id, dict(event.request.params)))
        elif isinstance(event, RequestRefused):
            told.append(("refused", request_id, event.status))
        else:
            told.append((type(event).__name__, request_id))
    return told


def received(events):
    return [event.request for event in events if isinstance(event, RequestReceived)]


@pytest.fixture
def connection(twin):
    return twin.connection.Connection()


# Framing


def test_01_header_split_at_every_byte_parses_the_same(twin):
    data = wire.request(1, b"body")
    whole = story(feed(twin.connection.Connection(), data))
    for cut in range(1, len(data)):
        connection = twin.connection.Connection()
        assert story(feed(connection, data[:cut]) + feed(connection, data[cut:])) == whole


def test_02_largest_content_with_largest_padding(connection):
    body = bytes(range(256)) * 256
    data = wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "65535"})
    data += wire.record(wire.STDIN, 1, body[:65535], padding=255) + wire.record(wire.STDIN, 1, padding=255)
    assert story(feed(connection, data, 1000))[1:] == [("body", 1, body[:65535]), ("BodyEnded", 1)]


def test_03_reserved_byte_is_ignored(connection):
    data = wire.begin() + wire.record(wire.PARAMS, 1, wire.pair(b"A", b"b"), reserved=255)
    data += wire.record(wire.PARAMS, 1, reserved=7)
    assert received(feed(connection, data))[0].get("A") == "b"


@pytest.mark.parametrize("version", [0, 2, 255])
def test_04_other_version_is_an_error_and_no_request(connection, version):
    with pytest.raises(ProtocolError, match=f"version {version}"):
        feed(connection, wire.record(wire.BEGIN, 1, bytes(8), version=version))
    with pytest.raises(ProtocolError, match="already failed"):
        connection.receive_data(wire.request())
    assert connection.data_to_send() == b""


def test_05_many_records_in_one_read_and_one_byte_reads(twin):
    data = b"".join(wire.request(number, b"x" * number) for number in range(1, 20))
    events = feed(twin.connection.Connection(), data)
    assert [request.request_id for request in received(events)] == list(range(1, 20))
    assert story(feed(twin.connection.Connection(), data, 1)) == story(events)


def test_06_output_over_65535_bytes_is_split_without_empty_records(connection):
    feed(connection, wire.request())
    data = bytes(200_000)
    connection.send_stdout(1, data)
    connection.send_stdout(1, b"")
    connection.end_request(1)
    assert wire.answer(connection.data_to_send()).stdout == data


def test_07_output_carries_version_reserved_and_id(connection):
    feed(connection, wire.request(0x1234))
    connection.send_stdout(0x1234, b"x")
    connection.end_request(0x1234)
    found = wire.records(connection.data_to_send())  # asserts version 1 and reserved 0
    assert {record.id for record in found} == {0x1234}


def test_08_end_request_is_eight_bytes_and_last(connection):
    feed(connection, wire.request())
    connection.send_stdout(1, b"x")
    connection.end_request(1, 3)
    last = wire.records(connection.data_to_send())[-1]
    assert last == (wire.END, 1, b"\0\0\0\3\0\0\0\0")


# Management


def values(data):
    (record,) = [record for record in wire.records(data) if record.type == wire.GET_VALUES_RESULT]
    assert record.id == 0
    found, content = [], record.content
    while content:
        name_length, value_length = content[0], content[1]
        end = 2 + name_length + value_length
        found.append((content[2 : 2 + name_length], content[2 + name_length : end]))
        content = content[end:]
    return found


def test_09_get_values_before_during_and_between_requests(connection):
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


def test_09_each_name_is_answered_once_however_often_it_is_asked(connection):
    feed(connection, wire.record(wire.GET_VALUES, 0, wire.pair(b"FCGI_MAX_CONNS", b"") * 1000))
    assert values(connection.data_to_send()) == [(b"FCGI_MAX_CONNS", b"1000")]


def test_10_empty_get_values_has_an_empty_result(connection):
    feed(connection, wire.record(wire.GET_VALUES, 0))
    assert values(connection.data_to_send()) == []


def test_11_values_are_the_limits(twin):
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
def test_12_malformed_pairs_in_get_values_are_an_error(connection, content):
    with pytest.raises(ProtocolError):
        feed(connection, wire.record(wire.GET_VALUES, 0, content))


@pytest.mark.parametrize("kind", [0, 3, 6, 7, 10, 11, 12, 255])
def test_13_unknown_management_type_is_answered(connection, kind):
    feed(connection, wire.record(kind, 0, b"whatever"))
    assert wire.records(connection.data_to_send()) == [(wire.UNKNOWN, 0, bytes((kind, 0, 0, 0, 0, 0, 0, 0)))]


@pytest.mark.parametrize("kind", [0, 3, 6, 7, 8, 9, 10, 11, 12, 255])
def test_14_unknown_type_on_a_request_is_ignored(connection, kind):
    events = feed(connection, wire.begin() + wire.record(kind, 1, b"whatever") + wire.params() + wire.stdin())
    assert len(received(events)) == 1
    assert connection.data_to_send() == b""


def test_15_get_values_neither_closes_nor_uses_up_the_connection(connection):
    feed(connection, wire.record(wire.GET_VALUES, 0))
    assert not connection.closing
    assert len(received(feed(connection, wire.request()))) == 1


@pytest.mark.parametrize("kind", [wire.BEGIN, wire.ABORT, wire.PARAMS, wire.STDIN, wire.DATA])
def test_16_application_records_need_a_request_id(connection, kind):
    with pytest.raises(ProtocolError, match="needs a request id"):
        feed(connection, wire.record(kind, 0, bytes(8)))


# Requests


@pytest.mark.parametrize("ids", [[1], [32767], [65535], [1, 1, 1], [1, 3, 5, 0x7FFF], [65535, 1, 65535]])
def test_17_any_id_and_its_reuse_after_the_end(connection, ids):
    for request_id in ids:
        (request,) = received(feed(connection, wire.request(request_id)))
        connection.send_stdout(request_id, b"x")
        connection.end_request(request_id)
        assert request.request_id == request_id
        assert wire.answer(connection.data_to_send(), request_id).stdout == b"x"


@pytest.mark.parametrize("kind", [wire.PARAMS, wire.STDIN, wire.ABORT, wire.DATA, wire.STDOUT])
def test_18_records_for_ids_that_are_not_active_are_ignored(connection, kind):
    data = wire.record(kind, 9, b"\xff" * 100) + wire.record(kind, 9) + wire.request(1)
    assert len(received(feed(connection, data))) == 1
    assert connection.data_to_send() == b""


def test_19_begin_on_an_active_id_is_an_error(connection):
    with pytest.raises(ProtocolError, match="is active"):
        feed(connection, wire.begin() + wire.begin())


@pytest.mark.parametrize("length", [0, 7, 9, 65535])
def test_20_begin_of_another_length_is_an_error(connection, length):
    with pytest.raises(ProtocolError, match="8"):
        feed(connection, wire.record(wire.BEGIN, 1, bytes(length)))


@pytest.mark.parametrize(("role", "flags"), [(3, 0), (3, 1), (0, 1), (255, 1), (65535, 0)])
def test_21_unsupported_role_is_answered_and_its_records_ignored(connection, role, flags):
    data = wire.begin(role=role, flags=flags) + wire.params() + wire.stdin(1, b"body")
    assert feed(connection, data) == []
    assert wire.records(connection.data_to_send()) == [(wire.END, 1, b"\0\0\0\0\3\0\0\0")]
    assert connection.closing is not bool(flags)
    assert connection.active_requests == 0


def test_22_second_request_where_multiplexing_is_off(twin):
    connection = twin.connection.Connection(Limits(requests_per_connection=1))
    events = feed(connection, wire.begin(1) + wire.request(2) + wire.params(1) + wire.stdin(1))
    assert [request.request_id for request in received(events)] == [1]
    assert wire.records(connection.data_to_send()) == [(wire.END, 2, b"\0\0\0\0\1\0\0\0")]


def test_23_too_many_multiplexed_requests_are_overloaded(twin):
    connection = twin.connection.Connection(Limits(requests_per_connection=2))
    events = feed(connection, wire.begin(1) + wire.begin(2) + wire.request(3))
    assert received(events) == []
    assert wire.records(connection.data_to_send()) == [(wire.END, 3, b"\0\0\0\0\2\0\0\0")]


@pytest.mark.parametrize("flags", [0, 1])
def test_24_keep_connection_decides_about_closing(connection, flags):
    (request,) = received(feed(connection, wire.request(flags=flags)))
    assert connection.closing is not bool(flags)
    assert request.keep_connection is bool(flags)


@pytest.mark.parametrize("flags", [0xFE, 0xFF])
def test_25_other_flag_bits_are_ignored(connection, flags):
    feed(connection, wire.request(flags=flags))
    assert connection.closing is not bool(flags & 1)


def test_26_mixed_keep_connection_finishes_the_active_ones(connection):
    feed(connection, wire.begin(1, flags=1) + wire.begin(2, flags=0))
    assert connection.closing
    assert connection.active_requests == 2
    events = feed(connection, wire.params(1) + wire.stdin(1) + wire.params(2) + wire.stdin(2))
    assert [request.request_id for request in received(events)] == [1, 2]


def test_27_requests_complete_out_of_order(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4"}
    data = wire.begin(1) + wire.begin(3) + wire.params(1, post) + wire.params(3, post)
    data += wire.record(wire.STDIN, 1, b"on") + wire.stdin(3, b"four") + wire.record(wire.STDIN, 1, b"e!")
    ended = [event.request.request_id for event in feed(connection, data) if isinstance(event, BodyEnded)]
    assert ended == [3, 1]


# Parameters


@pytest.mark.parametrize("name_length", [0, 1, 127, 128, 300])
@pytest.mark.parametrize("value_length", [0, 1, 127, 128, 70_000])
@pytest.mark.parametrize("long_form", [False, True])
def test_28_all_length_forms(connection, name_length, value_length, long_form):
    pair = wire.pair(b"N" * name_length, b"v" * value_length, long_name=long_form, long_value=long_form)
    content = pair + wire.pair(b"LAST", b"1")
    data = wire.begin() + b"".join(
        wire.record(wire.PARAMS, 1, content[start : start + 65535]) for start in range(0, len(content), 65535)
    )
    (request,) = received(feed(connection, data + wire.record(wire.PARAMS, 1)))
    assert request.params == ((b"N" * name_length, b"v" * value_length), (b"LAST", b"1"))


def test_29_pair_straddling_records_at_every_offset(twin):
    parameters = {"REQUEST_METHOD": "GET", "LONG": "x" * 200, "": "", "LAST": "end"}
    content = wire.pairs(parameters)
    for cut in range(1, len(content)):
        data = wire.begin() + wire.record(wire.PARAMS, 1, content[:cut]) + wire.record(wire.PARAMS, 1, content[cut:])
        (request,) = received(feed(twin.connection.Connection(), data + wire.record(wire.PARAMS, 1)))
        assert request.environ == parameters


@pytest.mark.parametrize("chunk", range(1, 21))
def test_29_params_in_tiny_records(connection, chunk):
    parameters = {"REQUEST_METHOD": "GET", "LONG": "x" * 200, "LAST": "end"}
    (request,) = received(feed(connection, wire.begin() + wire.params(1, parameters, chunk=chunk)))
    assert request.environ == parameters


def test_30_empty_names_duplicates_and_high_bytes(connection):
    content = wire.pair(b"", b"") + wire.pair(b"A", b"1") + wire.pair(b"A", b"2") + wire.pair(b"B\xff", b"\x80\xe9\xff")
    data = wire.begin() + wire.record(wire.PARAMS, 1, content) + wire.record(wire.PARAMS, 1)
    (request,) = received(feed(connection, data))
    assert request.params == ((b"", b""), (b"A", b"1"), (b"A", b"2"), (b"B\xff", b"\x80\xe9\xff"))
    assert request.environ == {"": "", "A": "2", "B\xff": "\x80\xe9\xff"}
    assert request.get("A") == "2"
    assert request.get("B\xff") == "\x80\xe9\xff"
    assert request.get("") == ""
    assert request.get("C") is None
    assert request.get("C", "default") == "default"
    assert request.get("\u20ac", "default") == "default"


@pytest.mark.parametrize(
    "content",
    [
        b"\x01",
        b"\x05\x05ab",
        b"\x80",
        b"\x80\x00\x00",
        b"\x01\x80\x00",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xff\xff\xff\xff\x01a",
        b"\x01\xff\xff\xff\xffa",
        wire.pair(b"A", b"b") + b"\x03\x00A",
    ],
)
def test_31_lengths_that_overrun_are_an_error(connection, content):
    feed(connection, wire.begin() + wire.record(wire.PARAMS, 1, content))
    with pytest.raises(ProtocolError, match="name-value pair"):
        feed(connection, wire.record(wire.PARAMS, 1))


def test_32_cap_on_bytes_at_the_limit_and_one_over(twin):
    limits = Limits(params_bytes=1000)
    for size, refused in ((1000, False), (1001, True)):
        content = wire.pair(b"A", b"x" * (size - 6))
        assert len(content) == size
        data = wire.begin() + wire.record(wire.PARAMS, 1, content[:700]) + wire.record(wire.PARAMS, 1, content[700:])
        told = story(feed(twin.connection.Connection(limits), data + wire.record(wire.PARAMS, 1) + wire.stdin()))
        assert told == (
            [("refused", 1, 431)] if refused else [("request", 1, {b"A": b"x" * (size - 6)}), ("BodyEnded", 1)]
        )


def test_32_cap_on_count_at_the_limit_and_one_over(twin):
    limits = Limits(params_count=10)
    for count, refused in ((10, False), (11, True)):
        data = wire.begin() + wire.params(1, {f"N{number}": "" for number in range(count)})
        told = story(feed(twin.connection.Connection(limits), data))
        assert (told == [("refused", 1, 431)]) is refused


def test_33_padded_empty_params_end_the_stream(connection):
    data = wire.begin() + wire.record(wire.PARAMS, 1, wire.pair(b"A", b"b")) + wire.record(wire.PARAMS, 1, padding=255)
    assert received(feed(connection, data))[0].environ == {"A": "b"}


def test_33_immediately_empty_params(connection):
    (request,) = received(feed(connection, wire.begin() + wire.record(wire.PARAMS, 1)))
    assert request.params == ()
    assert request.environ == {}


def test_34_large_header_arrives_whole(connection):
    value = "".join(chr(33 + number % 90) for number in range(70_000))
    (request,) = received(feed(connection, wire.begin() + wire.params(1, {"HTTP_COOKIE": value}, chunk=65535)))
    assert request.get("HTTP_COOKIE") == value


# Input


@pytest.mark.parametrize("length", [None, "0", ""])
def test_35_no_body_without_waiting_for_the_end_of_stdin(connection, length):
    parameters = {"REQUEST_METHOD": "GET"} | ({} if length is None else {"CONTENT_LENGTH": length})
    told = story(feed(connection, wire.begin() + wire.params(1, parameters)))
    assert [entry[0] for entry in told] == ["request", "BodyEnded"]


def test_35_declared_empty_post_does_not_wait(connection):
    told = story(feed(connection, wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "0"})))
    assert [entry[0] for entry in told] == ["request", "BodyEnded"]


def test_35_body_of_unknown_length_ends_with_stdin(connection):
    post = {"REQUEST_METHOD": "POST"}
    told = story(feed(connection, wire.begin() + wire.params(1, post) + wire.stdin(1, b"chunked upload", chunk=3)))
    assert told[1:] == [("body", 1, b"chunked upload"), ("BodyEnded", 1)]


def test_37_short_stdin_is_visible_and_long_stdin_cut(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "6"}
    short = story(feed(connection, wire.begin(1) + wire.params(1, post) + wire.stdin(1, b"four")))
    assert short[1:] == [("body", 1, b"four"), ("BodyEnded", 1)]
    long = story(feed(connection, wire.begin(2) + wire.params(2, post) + wire.stdin(2, b"eight by", chunk=3)))
    assert long[1:] == [("body", 2, b"eight "), ("BodyEnded", 2)]


@pytest.mark.parametrize("length", ["-1", "1,2", "+5", " 5", "5 ", "0x10", "1e3", "5\xb2", "9" * 19, "9" * 400])
def test_38_nonsense_content_length_is_refused(connection, length):
    parameters = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length}
    assert story(feed(connection, wire.begin() + wire.params(1, parameters) + wire.stdin(1, b"x"))) == [
        ("refused", 1, 400)
    ]


def test_38_body_over_the_limit_is_refused_before_it_is_read(twin):
    limits = Limits(body=1000)
    for declared, refused in ((1000, False), (1001, True)):
        data = wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(declared)})
        told = story(feed(twin.connection.Connection(limits), data))
        assert (told == [("refused", 1, 413)]) is refused


def test_38_undeclared_body_over_the_limit_is_refused(twin):
    limits = Limits(body=1000)
    for size, refused in ((1000, False), (1001, True)):
        data = wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST"}) + wire.stdin(1, bytes(size), chunk=100)
        told = story(feed(twin.connection.Connection(limits), data))
        assert (("refused", 1, 413) in told) is refused
        assert (("BodyEnded", 1) in told) is not refused


def test_39_input_after_an_early_answer_is_ignored(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "8"}
    feed(connection, wire.begin(flags=0) + wire.params(1, post) + wire.record(wire.STDIN, 1, b"four"))
    connection.send_stdout(1, b"early")
    connection.end_request(1)
    assert feed(connection, wire.stdin(1, b"more")) == []
    assert connection.input_pending
    assert wire.answer(connection.data_to_send()).stdout == b"early"


def test_45_data_for_a_responder_is_ignored(connection):
    data = (
        wire.begin() + wire.record(wire.DATA, 1, b"x" * 100) + wire.record(wire.DATA, 1) + wire.params() + wire.stdin()
    )
    assert len(received(feed(connection, data))) == 1


def test_46_stderr_is_terminated_only_if_used(connection):
    feed(connection, wire.request(1) + wire.request(2))
    connection.send_stderr(1, b"complaint")
    connection.send_stderr(2, b"")
    for request_id in (1, 2):
        connection.send_stdout(request_id, b"x")
        connection.end_request(request_id)
    found = wire.records(connection.data_to_send())
    assert wire.answer(found, 1).stderr == b"complaint"
    assert not [record for record in found if record.id == 2 and record.type == wire.STDERR]


# Abort


def test_53_abort_before_the_end_of_params(connection):
    assert feed(connection, wire.begin() + wire.record(wire.ABORT, 1)) == []
    assert wire.answer(connection.data_to_send()).app_status == 1
    assert connection.active_requests == 0


def test_53_abort_during_stdin_and_after_the_end(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "8"}
    events = feed(connection, wire.begin() + wire.params(1, post) + wire.record(wire.STDIN, 1, b"four"))
    events += feed(connection, wire.record(wire.ABORT, 1) + wire.record(wire.ABORT, 1) + wire.stdin(1, b"more"))
    assert isinstance(events[-1], RequestAborted)
    assert [type(event) for event in events].count(RequestAborted) == 1
    assert wire.answer(connection.data_to_send()).app_status == 1
    feed(connection, wire.record(wire.ABORT, 1) + wire.record(wire.ABORT, 77))
    assert connection.data_to_send() == b""


def test_54_abort_of_one_leaves_the_others(connection):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4"}
    data = wire.begin(1) + wire.begin(2) + wire.params(1, post) + wire.params(2, post) + wire.record(wire.ABORT, 1)
    told = story(feed(connection, data + wire.stdin(2, b"four")))
    assert told[-2:] == [("body", 2, b"four"), ("BodyEnded", 2)]
    assert connection.is_active(2)
    assert not connection.is_active(1)


def test_answering_a_request_that_is_not_active_is_refused(connection):
    for call in (connection.send_stdout, connection.send_stderr):
        with pytest.raises(ValueError, match="request 5 is not active"):
            call(5, b"x")
    with pytest.raises(ValueError, match="request 5 is not active"):
        connection.end_request(5)


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
