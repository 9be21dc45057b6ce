"""Lines 58 to 64 of the checklist: listeners, signals, descriptors, time, and what is left of a request."""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import time
from contextlib import suppress

import pytest
import wire
from fcgi_server import Server, is_closed, is_cut_off, read_answer, read_to_end

FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


@pytest.fixture
def listen(tmp_path):
    """A function that opens a listener of a family, as a web server or a service manager does; closed afterwards."""
    opened = []

    def listening(family):
        listener = socket.socket(family, socket.SOCK_STREAM)
        opened.append(listener)
        where = {socket.AF_UNIX: str(tmp_path / "l"), socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}
        try:
            listener.bind(where[family])
        except OSError:
            pytest.skip("no IPv6 on this machine")
        listener.listen(64)
        return listener

    yield listening
    for listener in opened:
        listener.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_line_58_listener_on_descriptor_0(start, listen, family):
    """lighttpd's bin-path and spawn-fcgi hand over the listener as descriptor 0."""
    server = start(listener=listen(family))
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    server.process.terminate()
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("kind", ["null", "datagram", "connected", "not-listening"])
def test_line_58_descriptor_that_is_no_listener_is_refused(tmp_path, twin_environment, kind):
    one, other = socket.socketpair(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
    with one, other, open(os.devnull) as null, socket.socket(socket.AF_UNIX) as idle:
        server = Server(tmp_path, twin_environment, listener={"null": null, "not-listening": idle}.get(kind, one))
        server.start()
        assert server.process.wait(20) == 1
    assert f"descriptor 0 is no {'socket' if kind == 'null' else 'listening stream socket'}" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_line_60_signal_finishes_what_has_begun_and_exits_0(start, tmp_path, number):
    server, gate = start(), tmp_path / "gate"
    with server.connect() as running, server.connect() as idle:
        idle.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(idle).body == b"hello"
        running.sendall(wire.request(PATH_INFO="/held", QUERY_STRING=str(gate)))
        running.recv(1)
        os.kill(server.pid, number)
        assert is_closed(idle)
        assert server.process.poll() is None
        gate.touch()
        assert read_to_end(running).endswith(wire.record(wire.END, 1, bytes(8)))
    assert server.process.wait(20) == 0
    assert not server.path.exists()


def test_line_60_second_signal_forces(start, tmp_path):
    server = start()
    with server.connect() as sock, server.connect() as idle:
        sock.sendall(wire.request(PATH_INFO="/held", QUERY_STRING=str(tmp_path / "never")))
        sock.recv(1)
        idle.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(idle).body == b"hello"
        os.kill(server.pid, signal.SIGTERM)
        assert is_closed(idle)  # it has heard the first one
        assert server.process.poll() is None
        os.kill(server.pid, signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_line_61_accept_survives_running_out_of_descriptors(start):
    server = start()
    server.settle()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors() + 10, 4096))
    begun = time.monotonic()
    crowd = [server.connect() for _ in range(40)]
    server.wait_for(lambda: "cannot accept a connection" in server.log, "a word about it")
    for sock in crowd:
        sock.close()
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert server.log.count("cannot accept") <= 2 + (time.monotonic() - begun), "it does not pause between attempts"


def test_line_61_more_than_1024_descriptors(start):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 3000
    if hard < wanted:
        pytest.skip("needs a limit of 3000 descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        server = start("native", "--limit", "connections=2500")
        crowd = [server.connect() for _ in range(2000)]
        assert server.ask(PATH_INFO="/hello").body == b"hello"
        crowd[-1].sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(crowd[-1]).body == b"hello"
        for sock in crowd:
            sock.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_line_62_socket_has_its_mode_whatever_the_umask(start, tmp_path, twin_environment):
    for umask in (0o000, 0o077):
        before = os.umask(umask)
        try:
            server = start()
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o660
    server = start("native", "--socket-mode", "0600")
    assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600


def test_line_62_stale_socket_is_replaced_and_a_live_one_is_not(start, twin_environment):
    server = start()
    second = Server(server.path.parent, twin_environment)
    second.log_path = server.path.parent / "log2"
    second.start()
    assert second.process.wait(20) == 1
    assert "another process listens" in second.log
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    server.process.kill()
    server.process.wait()
    assert server.path.exists()
    with Server(server.path.parent, twin_environment) as again:
        again.wait_for(lambda: "applications:native" in again.log, "the new server")
        assert again.ask(PATH_INFO="/hello").body == b"hello"


def test_line_62_path_that_is_no_socket_is_left_alone(twin_environment, tmp_path):
    (tmp_path / "s").write_text("precious")
    server = Server(tmp_path, twin_environment)
    server.start()
    assert server.process.wait(20) == 1
    assert "exists and is no socket" in server.log
    assert (tmp_path / "s").read_text() == "precious"


def test_line_63_connection_without_a_whole_request_head_is_closed(start):
    server = start("native", "--limit=header_timeout=1")
    with server.connect() as silent, server.connect() as half:
        with suppress(BrokenPipeError):  # closed already: this test was late
            half.sendall(wire.begin() + wire.record(wire.PARAMS, 1, b"\1"))
        assert is_closed(silent)
        assert is_closed(half)


def test_line_63_dripping_params_do_not_hold_a_connection(start):
    server = start("native", "--limit=header_timeout=1")
    with server.connect() as sock, suppress(BrokenPipeError):
        sock.sendall(wire.begin())
        assert is_cut_off(sock, wire.record(wire.PARAMS, 1, wire.pair(b"A", b"b")), times=600, pause=0.05)


def test_line_63_kept_connection_is_closed_when_it_was_idle_too_long(start):
    server = start("native", "--limit=idle_timeout=1")
    with server.connect() as idle:
        idle.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(idle).body == b"hello"
        assert is_closed(idle)


def test_line_63_body_that_does_not_come_is_a_408(start):
    server = start("native", "--limit=body_timeout=1", "--limit=linger_timeout=1")
    with server.connect() as slow:
        post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "9"}
        slow.sendall(wire.begin(flags=0) + wire.params(1, post) + wire.record(wire.STDIN, 1, b"x"))
        assert wire.answer(read_to_end(slow)).status == 408


def test_line_64_nothing_of_one_request_is_seen_by_the_next(server):
    with server.connect() as sock:
        for number in range(100):
            sock.sendall(wire.request(PATH_INFO="/environ", **{f"ONLY_{number}": "x"}))
            seen = dict(eval(read_answer(sock).body))
            assert [name for name in seen if name.startswith("ONLY_")] == [f"ONLY_{number}"]
