"""A worker that ends loses no request, neither one that was on its way nor one of whose connection it was told."""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
import time
from collections.abc import Iterator

import pytest
import wire
from fcgi_server import is_closed, read_answer, read_to_end
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


@pytest.mark.parametrize("begun", [0, 3])
def test_60_a_first_request_that_was_on_its_way_when_the_drain_began_is_answered(loop, begun):
    """Its connection was taken; a front end that has it closed before an answer says 502, and repeats nothing."""
    request = wire.request(1, b"late", flags=0)
    with loop.connect() as sock:
        sock.sendall(request[:begun])
        while not loop.loop.connections:
            time.sleep(0.001)
        drain(loop)
        time.sleep(0.05)  # so that the drain has begun; it may as well come later
        sock.sendall(request[begun:])
        assert read_answer(sock).body == b"late"
        loop.join()


@pytest.mark.parametrize("begun", [0, 3])
def test_60_a_connection_on_which_nothing_begins_does_not_put_off_the_end(loop, begun):
    with loop.connect() as sock:
        sock.sendall(wire.request()[:begun])
        while not loop.loop.connections:
            time.sleep(0.001)
        drain(loop)
        assert sock.recv(1) == b""
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


# A connection of which the kernel has told one worker of several (EPOLLEXCLUSIVE), which ends


@pytest.fixture(params=["unix", "tcp"])
def shared(request, tmp_path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX if request.param == "unix" else socket.AF_INET) as listener:
        listener.bind(str(tmp_path / "shared") if request.param == "unix" else ("127.0.0.1", 0))
        listener.listen(64)
        yield listener


def connect_and(end, listener: socket.socket) -> socket.socket:
    """Connect and call `end` before any other thread runs Python: who is woken by the connection finds it is over."""
    sock = socket.socket(listener.family)
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        address = struct.pack("=H", socket.AF_UNIX) + name.encode() + b"\0"
    else:
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", name[1], socket.inet_aton(name[0]))
    connect = ctypes.PyDLL(None, use_errno=True).connect  # it keeps the interpreter to itself
    interval = sys.getswitchinterval()
    sys.setswitchinterval(30.0)
    try:
        assert connect(sock.fileno(), address, len(address)) == 0, ctypes.get_errno()
        end()
    finally:
        sys.setswitchinterval(interval)
    sock.settimeout(20.0)
    return sock


def ask(sock: socket.socket) -> bytes:
    """The answer to one request; empty where the connection is closed. Raises TimeoutError."""
    try:
        sock.sendall(wire.request(flags=0))
        data = read_to_end(sock)
    except (BrokenPipeError, ConnectionResetError):
        return b""
    return wire.answer(data).body if data else b""


@pytest.mark.parametrize("how", ["drain", "stop"])
def test_a_connection_that_woke_a_worker_that_ends_is_served_by_another(twin, tmp_path, shared, how):
    """The kernel wakes who has waited longest; whoever leaves the queue has to tell the others."""
    answers = set()  # on a busy machine, the first may take it before it hears of its end
    for _ in range(10):
        with LoopThread(twin, lambda request: b"first", tmp_path, listener=shared) as first:
            with connect_and(lambda: None, shared) as sock:
                sock.sendall(wire.request(flags=0))
                assert read_answer(sock).body == b"first"
            with LoopThread(twin, lambda request: b"second", tmp_path, listener=shared) as second:
                while second.loop.fileno() < 0:
                    time.sleep(0.001)
                time.sleep(0.01)  # so that it waits; where it does not yet, it needs not be told
                with connect_and(getattr(first.loop, how), shared) as sock:
                    answers.add(ask(sock))
    assert b"second" in answers
    assert answers <= {b"first", b"second"} | ({b""} if how == "stop" else set())
