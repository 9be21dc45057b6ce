"""Lines 28 to 34 of the checklist: name-value pairs (FastCGI 1.0 §3.4), without a socket and through one."""

from __future__ import annotations

import pytest
import wire
from conversation import feed, received, story
from fcgi_server import is_closed, read_answer

from fastcore.errors import ProtocolError
from fastcore.limits import Limits


@pytest.mark.parametrize("name_length", [0, 1, 127, 128, 300])
@pytest.mark.parametrize("value_length", [0, 1, 127, 128, 70_000])
@pytest.mark.parametrize("long_form", [False, True])
def test_line_28_all_length_forms(connection, name_length, value_length, long_form):
    pair = wire.pair(b"N" * name_length, b"v" * value_length, long_name=long_form, long_value=long_form)
    content = pair + wire.pair(b"LAST", b"1")
    data = wire.begin() + b"".join(
        wire.record(wire.PARAMS, 1, content[start : start + 65535]) for start in range(0, len(content), 65535)
    )
    (request,) = received(feed(connection, data + wire.record(wire.PARAMS, 1)))
    assert request.params == ((b"N" * name_length, b"v" * value_length), (b"LAST", b"1"))


def test_line_29_pair_straddling_records_at_every_offset(twin):
    parameters = {"REQUEST_METHOD": "GET", "LONG": "x" * 200, "": "", "LAST": "end"}
    content = wire.pairs(parameters)
    for cut in range(1, len(content)):
        data = wire.begin() + wire.record(wire.PARAMS, 1, content[:cut]) + wire.record(wire.PARAMS, 1, content[cut:])
        (request,) = received(feed(twin.connection.Connection(), data + wire.record(wire.PARAMS, 1)))
        assert request.environ == parameters


@pytest.mark.parametrize("chunk", range(1, 21))
def test_line_29_params_in_tiny_records(connection, chunk):
    parameters = {"REQUEST_METHOD": "GET", "LONG": "x" * 200, "LAST": "end"}
    (request,) = received(feed(connection, wire.begin() + wire.params(1, parameters, chunk=chunk)))
    assert request.environ == parameters


def test_line_30_empty_names_duplicates_and_high_bytes(connection):
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
def test_line_31_lengths_that_overrun_are_an_error(connection, content):
    feed(connection, wire.begin() + wire.record(wire.PARAMS, 1, content))
    with pytest.raises(ProtocolError, match="name-value pair"):
        feed(connection, wire.record(wire.PARAMS, 1))


def test_line_32_cap_on_bytes_at_the_limit_and_one_over(twin):
    limits = Limits(params_bytes=1000)
    for size, refused in ((1000, False), (1001, True)):
        content = wire.pair(b"A", b"x" * (size - 6))
        assert len(content) == size
        data = wire.begin() + wire.record(wire.PARAMS, 1, content[:700]) + wire.record(wire.PARAMS, 1, content[700:])
        told = story(feed(twin.connection.Connection(limits), data + wire.record(wire.PARAMS, 1) + wire.stdin()))
        assert told == (
            [("refused", 1, 431)] if refused else [("request", 1, {b"A": b"x" * (size - 6)}), ("BodyEnded", 1)]
        )


def test_line_32_cap_on_count_at_the_limit_and_one_over(twin):
    limits = Limits(params_count=10)
    for count, refused in ((10, False), (11, True)):
        data = wire.begin() + wire.params(1, {f"N{number}": "" for number in range(count)})
        told = story(feed(twin.connection.Connection(limits), data))
        assert (told == [("refused", 1, 431)]) is refused


def test_line_33_padded_empty_params_end_the_stream(connection):
    data = wire.begin() + wire.record(wire.PARAMS, 1, wire.pair(b"A", b"b")) + wire.record(wire.PARAMS, 1, padding=255)
    assert received(feed(connection, data))[0].environ == {"A": "b"}


def test_line_33_immediately_empty_params(connection):
    (request,) = received(feed(connection, wire.begin() + wire.record(wire.PARAMS, 1)))
    assert request.params == ()
    assert request.environ == {}


def test_line_34_large_header_arrives_whole(connection):
    value = "".join(chr(33 + number % 90) for number in range(70_000))
    (request,) = received(feed(connection, wire.begin() + wire.params(1, {"HTTP_COOKIE": value}, chunk=65535)))
    assert request.get("HTTP_COOKIE") == value


# Through a socket


def environ(sock, content, chunk=65535):
    """What the application sees of these PARAMS bytes."""
    parts = [wire.record(wire.PARAMS, 1, content[start : start + chunk]) for start in range(0, len(content), chunk)]
    sock.sendall(wire.begin() + b"".join(parts) + wire.record(wire.PARAMS, 1) + wire.stdin())
    return dict(eval(read_answer(sock).body))


ASK = wire.pairs({"REQUEST_METHOD": "GET", "PATH_INFO": "/environ"})


@pytest.mark.parametrize("name_length", [1, 127, 128])
@pytest.mark.parametrize("value_length", [0, 127, 128, 70_000])
@pytest.mark.parametrize("long_form", [False, True])
def test_line_28_all_length_forms_arrive(server, name_length, value_length, long_form):
    pair = wire.pair(b"N" * name_length, b"v" * value_length, long_name=long_form, long_value=long_form)
    with server.connect() as sock:
        assert environ(sock, ASK + pair)["N" * name_length] == "v" * value_length


def test_line_29_pair_split_at_every_offset_arrives(server):
    content = ASK + wire.pairs({"LONG": "x" * 200, "LAST": "end"})
    post = wire.begin() + b"%b" + wire.stdin()
    with server.connect() as sock:
        for cut in range(1, len(content)):
            records = wire.record(wire.PARAMS, 1, content[:cut]) + wire.record(wire.PARAMS, 1, content[cut:])
            sock.sendall(post % (records + wire.record(wire.PARAMS, 1)))
            seen = dict(eval(read_answer(sock).body))
            assert (seen["LONG"], seen["LAST"]) == ("x" * 200, "end")


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 20])
def test_line_29_params_in_tiny_records_arrive(server, chunk):
    with server.connect() as sock:
        seen = environ(sock, ASK + wire.pairs({"LONG": "x" * 200, "LAST": "end"}), chunk)
    assert (seen["LONG"], seen["LAST"]) == ("x" * 200, "end")


def test_line_30_empty_duplicate_and_high_bytes_arrive(server):
    content = ASK + wire.pair(b"", b"") + wire.pair(b"EMPTY", b"") + wire.pair(b"A", b"1") + wire.pair(b"A", b"2")
    with server.connect() as sock:
        seen = environ(sock, content + wire.pair(b"B\xff", b"\x80\xe9\xff"))
    assert (seen[""], seen["EMPTY"], seen["A"], seen["B\xff"]) == ("", "", "2", "\x80\xe9\xff")


@pytest.mark.parametrize("content", [b"\x01", b"\x05\x05ab", b"\xff" * 8, b"\x01\xff\xff\xff\xffa", ASK + b"\x80"])
def test_line_31_lengths_that_overrun_close_that_connection_only(server, content):
    with server.connect() as sock:
        sock.sendall(wire.begin() + wire.record(wire.PARAMS, 1, content) + wire.record(wire.PARAMS, 1) + wire.stdin())
        assert is_closed(sock)
    assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_line_32_params_over_a_limit_are_a_431_and_the_connection_goes_on(start):
    server = start("native", "--limit", "params_bytes=1000", "--limit", "params_count=10")
    size = {"PATH_INFO": "/hello", "A": ""}
    room = 1000 - len(wire.pairs({"REQUEST_METHOD": "GET", **size})) - 3  # a value over 127 bytes has a longer length
    names = {f"N{number}": "" for number in range(8)}
    with server.connect() as sock:
        for parameters, status in (
            (size | {"A": "x" * room}, 200),
            (size | {"A": "x" * (room + 1)}, 431),
            ({"PATH_INFO": "/hello"} | names, 200),
            ({"PATH_INFO": "/hello", "ONE": "more"} | names, 431),
        ):
            sock.sendall(wire.request(**parameters))
            assert read_answer(sock).status == status


def test_line_33_padded_and_empty_params_end_the_stream(server):
    with server.connect() as sock:
        sock.sendall(wire.begin() + wire.record(wire.PARAMS, 1, ASK, padding=7))
        sock.sendall(wire.record(wire.PARAMS, 1, padding=255) + wire.stdin())
        assert dict(eval(read_answer(sock).body))["PATH_INFO"] == "/environ"
        sock.sendall(wire.begin() + wire.record(wire.PARAMS, 1) + wire.stdin())
        assert read_answer(sock).status == 404  # there was no PATH_INFO


def test_line_34_a_70000_byte_header_arrives_whole(server):
    value = "".join(chr(33 + number % 90) for number in range(70_000))
    with server.connect() as sock:
        assert environ(sock, ASK + wire.pairs({"HTTP_COOKIE": value}))["HTTP_COOKIE"] == value
