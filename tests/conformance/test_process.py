"""Lines 58 to 64 of the checklist: listeners, signals, descriptors, time, and what is left of a request."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import signal
import socket
import stat
import time
from contextlib import suppress

import pytest
import wire
from fcgi_server import Server, children, is_asleep, is_closed, is_cut_off, pending, read_answer, read_to_end


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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("path", ["/stuck", "/spin", "/stuck-body"])
def test_line_60_second_signal_ends_an_application_that_does_not_return(start, tmp_path, path, workers):
    server = start("native", "--workers", str(workers))
    inside = tmp_path / "inside"
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO=path, QUERY_STRING=str(inside)))
        server.wait_for(inside.exists, "the application")
        os.kill(server.pid, signal.SIGTERM)
        server.wait_for(lambda: inside.read_text() == "heard", "the first signal to be taken")
        assert server.process.poll() is None
        os.kill(server.pid, signal.SIGTERM)
        assert server.process.wait(20) == 0
    assert "a second signal: the application that runs is interrupted" in server.log
    assert not server.path.exists()


def test_line_60_third_signal_ends_an_application_that_swallows_the_second(start, tmp_path):
    server = start()
    inside = tmp_path / "inside"
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/stubborn", QUERY_STRING=str(inside)))
        server.wait_for(inside.exists, "the application")
        for number in range(1, 4):
            assert server.process.poll() is None
            os.kill(server.pid, signal.SIGTERM)
            server.wait_for(lambda: inside.read_text() == "heard" * number, "the signal to be taken")  # noqa: B023
        assert server.process.wait(20) == 128 + signal.SIGTERM
    assert "a third signal" in server.log


def test_line_60_worker_that_hears_no_signal_is_killed_after_the_second(start, tmp_path):
    server = start("native", "--workers", "2")
    inside = tmp_path / "inside"
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/deaf", QUERY_STRING=str(inside)))
        server.wait_for(inside.exists, "the application")
        for _ in range(2):
            os.kill(server.pid, signal.SIGTERM)
            server.wait_for(lambda: not pending(server.pid), "the signal to be taken")
        assert server.process.wait(20) == 0
    assert "does not end: killed" in server.log


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


def test_line_61_connections_that_are_gone_before_they_are_accepted(start, listen):
    """ECONNABORTED, or a connection that is reset at once (accept(2)); the server sleeps while they come and go."""
    for family in (socket.AF_UNIX, socket.AF_INET):
        server = start(listener=listen(family))
        server.settle()
        os.kill(server.pid, signal.SIGSTOP)
        for number in range(30):
            with server.connect() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close() sends RST
                if number % 2:
                    sock.sendall(wire.request(PATH_INFO="/hello"))
        os.kill(server.pid, signal.SIGCONT)
        assert server.ask(PATH_INFO="/hello").body == b"hello"
        assert "cannot accept" not in server.log


def test_line_61_calls_interrupted_by_signals_are_made_again(start):
    """EINTR, 2,000 times a second."""
    server = start()
    assert server.ask(PATH_INFO="/ticking").body == b"ticking"
    with server.connect() as kept:
        for number in range(200):
            kept.sendall(wire.request(1, b"x" * 1000 * number, CONTENT_LENGTH=str(1000 * number), PATH_INFO="/length"))
            assert read_answer(kept).body == b"%d %d" % (number * 1000, number * 1000)
            assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert "cannot" not in server.log


def test_line_61_worker_that_exits_with_status_0_again_and_again_is_replaced_ever_later(start):
    """An application that calls os._exit(0) did not serve its time."""
    server = start("native", "--workers", "2", "--max-requests", "1000")
    for number, delay in enumerate(("0.1", "0.2", "0.4", "0.8"), 1):
        with server.connect() as sock:
            sock.sendall(wire.request(PATH_INFO="/exit-0"))
            assert is_closed(sock)
        server.wait_for(lambda: server.log.count("a new one starts") == number, "a word")  # noqa: B023
        assert f"exited with status 0; a new one starts in {delay} s" in server.log


def test_line_61_one_connection_wakes_about_one_worker(start):
    """EPOLLEXCLUSIVE. Woken all together, 4 workers would switch 4 times for each connection."""
    server = start("native", "--workers", "4")
    server.wait_for(lambda: len(children(server.pid)) == 4, "four workers")
    workers = children(server.pid)
    for pid in workers:
        server.wait_for(lambda: is_asleep(pid), "the worker to wait")  # noqa: B023
    before = sum(map(switches, workers))
    for _ in range(200):
        assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert sum(map(switches, workers)) - before < 560  # twice each: to accept, and to read


def switches(pid):
    """How often the process has gone to sleep by itself."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a socket away")
def test_line_62_socket_has_its_owner_and_group(start):
    server = start("native", "--socket-owner", "nobody", "--socket-group", "daemon")
    found = os.stat(server.path)
    assert (pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid).gr_name) == ("nobody", "daemon")
    assert stat.S_IMODE(found.st_mode) == 0o660


def test_line_62_another_processs_socket_in_the_same_place_is_not_removed(start):
    server = start()
    server.settle()
    os.rename(server.path, server.path.with_name("old"))
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(server.path))
        server.process.terminate()
        assert server.process.wait(20) == 0
        assert server.path.exists()


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


@pytest.mark.parametrize("flags", [0, 1])
def test_line_63_workers_are_replaced_after_max_requests_and_no_answer_is_lost(start, flags):
    server = start("native", "--workers", "2", "--max-requests", "20")
    pids = set()
    for _ in range(30):
        with server.connect() as sock:
            for number in range(1, 6):
                data = wire.request(number, flags=flags, PATH_INFO="/pid")
                try:
                    sock.sendall(data)
                    answer = read_answer(sock, number)
                except (
                    AssertionError,
                    BrokenPipeError,
                    ConnectionResetError,
                ):  # closed between two requests: as a front end, ask again
                    assert number > 1
                    break
                pids.add(answer.body)
                if not flags:
                    assert is_closed(sock)
                    break
    server.wait_for(lambda: pids.add(server.ask(PATH_INFO="/pid").body) or len(pids) > 2, "a new worker")
    assert "Error" not in server.log


def test_line_64_nothing_of_one_request_is_seen_by_the_next(server):
    with server.connect() as sock:
        for number in range(100):
            sock.sendall(wire.request(PATH_INFO="/environ", **{f"ONLY_{number}": "x"}))
            seen = dict(eval(read_answer(sock).body))
            assert [name for name in seen if name.startswith("ONLY_")] == [f"ONLY_{number}"]
