"""A worker that drains loses no request that a front end has begun on a kept connection before it knew."""

from __future__ import annotations

import socket

import pytest
import wire
from fcgi_server import is_closed, read_answer
from loop_thread import LoopThread


@pytest.fixture
def loop(twin, tmp_path):
    with LoopThread(twin, lambda request: request.body.read() or b"fine", tmp_path) as loop:
        yield loop


def drain(loop: LoopThread) -> None:
    loop.loop.drain()
    loop.wake()


def read_record(sock: socket.socket) -> wire.Record:
    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = sock.recv(count - len(data))
            assert piece, "closed"
            data += piece
        return data

    header = exactly(8)
    rest = exactly(int.from_bytes(header[4:6], "big") + header[6])
    return wire.records(header + rest)[0]


def used(loop: LoopThread) -> socket.socket:
    """A kept connection on which one request was answered."""
    sock = loop.connect()
    sock.sendall(wire.request())
    assert read_answer(sock).body == b"fine"
    return sock


def test_60_a_request_that_was_on_its_way_when_the_drain_began_is_answered(loop):
    with used(loop) as sock:
        drain(loop)
        sock.sendall(wire.request(1, b"late"))
        assert read_answer(sock).body == b"late"
        assert is_closed(sock)
        loop.join()


def test_60_a_kept_connection_that_brings_nothing_more_is_closed(loop):
    with used(loop) as sock:
        drain(loop)
        assert sock.recv(1) == b""
        loop.join()


def test_60_a_client_that_has_asked_is_told_that_no_more_requests_are_taken(loop):
    """HAProxy, multiplexing, begins no more requests after that; those it has begun are answered."""
    with loop.connect() as sock:
        sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pairs({"FCGI_MAX_REQS": "", "FCGI_MPXS_CONNS": ""})))
        assert read_record(sock).content == wire.pairs({"FCGI_MAX_REQS": "100000", "FCGI_MPXS_CONNS": "1"})
        drain(loop)
        told = read_record(sock)
        assert (told.type, told.id) == (wire.GET_VALUES_RESULT, 0)
        assert told.content == wire.pairs({"FCGI_MAX_REQS": "0", "FCGI_MPXS_CONNS": "1"})
        for number in (1, 3, 5):
            sock.sendall(wire.request(number, b"%d" % number))
            assert read_answer(sock, number).body == b"%d" % number
        assert sock.recv(1) == b""
        loop.join()


def test_60_no_byte_unasked_to_a_client_that_has_not_asked(loop):
    with used(loop) as sock:
        drain(loop)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
        loop.join()
