"""Lines 1 to 8 of the checklist: records (FastCGI 1.0 §3.3), without a socket and through one."""

from __future__ import annotations

import pytest
import wire
from conversation import feed, received, story
from fcgi_server import is_closed, read_answer, read_records

from fastcore.errors import ProtocolError


def test_line_01_header_split_at_every_byte_parses_the_same(twin):
    data = wire.request(1, b"body")
    whole = story(feed(twin.connection.Connection(), data))
    for cut in range(1, len(data)):
        connection = twin.connection.Connection()
        assert story(feed(connection, data[:cut]) + feed(connection, data[cut:])) == whole


def test_line_02_largest_content_with_largest_padding(connection):
    body = bytes(range(256)) * 256
    data = wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "65535"})
    data += wire.record(wire.STDIN, 1, body[:65535], padding=255) + wire.record(wire.STDIN, 1, padding=255)
    assert story(feed(connection, data, 1000))[1:] == [("body", 1, body[:65535]), ("BodyEnded", 1)]


def test_line_03_reserved_byte_is_ignored(connection):
    data = wire.begin() + wire.record(wire.PARAMS, 1, wire.pair(b"A", b"b"), reserved=255)
    data += wire.record(wire.PARAMS, 1, reserved=7)
    assert received(feed(connection, data))[0].get("A") == "b"


@pytest.mark.parametrize("version", [0, 2, 255])
def test_line_04_other_version_is_an_error_and_no_request(connection, version):
    with pytest.raises(ProtocolError, match=f"version {version}"):
        feed(connection, wire.record(wire.BEGIN, 1, bytes(8), version=version))
    with pytest.raises(ProtocolError, match="already failed"):
        connection.receive_data(wire.request())
    assert connection.data_to_send() == b""


def test_line_04_bad_version_closes_that_connection_only(server):
    with server.connect() as good, server.connect() as bad:
        good.sendall(
            wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"})
        )
        bad.sendall(wire.record(wire.BEGIN, 1, bytes(8), version=9))
        assert is_closed(bad)
        good.sendall(wire.stdin(1, b"fine"))
        assert read_answer(good).body == b"fine"
    assert "does not speak FastCGI: FastCGI version 9 instead of 1" in server.log


def test_line_05_many_records_in_one_read_and_one_byte_reads(twin):
    data = b"".join(wire.request(number, b"x" * number) for number in range(1, 20))
    events = feed(twin.connection.Connection(), data)
    assert [request.request_id for request in received(events)] == list(range(1, 20))
    assert story(feed(twin.connection.Connection(), data, 1)) == story(events)


def test_line_06_output_over_65535_bytes_is_split_without_empty_records(connection):
    feed(connection, wire.request())
    data = bytes(200_000)
    connection.send_stdout(1, data)
    connection.send_stdout(1, b"")
    connection.end_request(1)
    assert wire.answer(connection.data_to_send()).stdout == data


def test_line_07_output_carries_version_reserved_and_id(connection):
    feed(connection, wire.request(0x1234))
    connection.send_stdout(0x1234, b"x")
    connection.end_request(0x1234)
    found = wire.records(connection.data_to_send())  # asserts version 1 and reserved 0
    assert {record.id for record in found} == {0x1234}


def test_line_08_end_request_is_eight_bytes_and_last(connection):
    feed(connection, wire.request())
    connection.send_stdout(1, b"x")
    connection.end_request(1, 3)
    last = wire.records(connection.data_to_send())[-1]
    assert last == (wire.END, 1, b"\0\0\0\3\0\0\0\0")


def test_line_08_end_request_is_the_last_byte_and_in_one_write_with_the_answer(server):
    """nginx keeps a connection only if END_REQUEST is the last byte it has; Apache reads it by one recv()."""
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/hello"))
        data = sock.recv(65536)
    assert wire.answer(data).body == b"hello"


# Through a socket


@pytest.mark.parametrize("cut", range(1, 25))
def test_line_01_header_that_comes_in_two_reads_is_one_header(server, cut):
    data = wire.request(1, b"body", PATH_INFO="/echo")
    with server.connect() as sock:
        sock.sendall(data[:cut])
        assert server.ask(PATH_INFO="/hello").body == b"hello"  # by now it has read the first part
        sock.sendall(data[cut:])
        assert read_answer(sock).body == b"body"


def test_line_02_padding_is_no_part_of_a_body(server):
    body = bytes(range(256)) * 256
    data = wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "65535", "PATH_INFO": "/echo"})
    data += wire.record(wire.STDIN, 1, body[:65535], padding=255) + wire.record(wire.STDIN, 1, padding=255)
    with server.connect() as sock:
        for _ in range(2):
            sock.sendall(data)
            assert read_answer(sock).body == body[:65535]


def test_line_03_reserved_byte_changes_nothing(server):
    with server.connect() as sock:
        sock.sendall(
            wire.record(wire.BEGIN, 1, b"\0\1\1" + bytes(5), reserved=1)
            + wire.record(wire.PARAMS, 1, wire.pairs({"REQUEST_METHOD": "GET", "PATH_INFO": "/hello"}), reserved=255)
            + wire.record(wire.PARAMS, 1, reserved=128)
        )
        assert read_answer(sock).body == b"hello"


def test_line_05_many_requests_in_one_write_and_one_in_writes_of_a_byte(server):
    bodies = {number: b"x" * number for number in range(1, 20)}
    with server.connect() as sock:
        sock.sendall(b"".join(wire.request(number, body, PATH_INFO="/length") for number, body in bodies.items()))
        found = read_records(sock, 3 * len(bodies))
        for number in bodies:
            assert wire.answer(found, number).body == b"%d %d" % (number, number)
        for byte in wire.request(1, b"slowly", PATH_INFO="/echo"):
            sock.sendall(bytes((byte,)))
        assert read_answer(sock).body == b"slowly"


@pytest.mark.parametrize("size", [65_000, 65_535, 65_536, 200_000])
def test_line_06_large_answers_are_split_without_empty_records(server, size):
    assert server.ask(PATH_INFO="/big", QUERY_STRING=str(size)).body == bytes(size)


def test_line_07_every_record_of_an_answer_has_version_1_reserved_0_and_the_id(server):
    with server.connect() as sock:
        sock.sendall(wire.request(0xABCD, PATH_INFO="/errors"))
        found = read_records(sock, 5)  # asserts version 1 and reserved 0
    assert {record.id for record in found} == {0xABCD}
