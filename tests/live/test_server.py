"""The worker loop through real sockets, on both twins: what the numbered lines of tests/conformance do not say."""

from __future__ import annotations

import os
import select
import subprocess
import sys

import pytest
import wire
from fcgi_server import ROOT, Server, children, is_closed, is_cut_off, read_answer, read_to_end


@pytest.fixture
def start(tmp_path, twin_environment):
    """A function that starts a server; all are stopped afterwards."""
    servers = []

    def started(application="native", *options):
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        server = Server(directory, twin_environment, application, *options)
        servers.append(server)
        return server.__enter__()

    yield started
    for server in servers:
        server.__exit__()


@pytest.fixture
def server(start):
    return start()


@pytest.mark.parametrize(("application", "path"), [("native", "/empty"), ("wsgi", "/errors")])
def test_empty_body_ends_the_answer(start, application, path):
    assert start(application).ask(PATH_INFO=path).body == b""


def test_body_moves_to_a_temporary_file_and_arrives_whole(start):
    server = start("native", "--limit", "body_memory=1000")
    body = os.urandom(300_000)
    with server.connect() as sock:
        sock.sendall(wire.request(1, body, PATH_INFO="/echo"))
        assert read_answer(sock).body == body
        before = server.descriptors()
        sock.sendall(wire.request(1, body, PATH_INFO="/echo"))
        assert read_answer(sock).body == body
        assert server.descriptors() == before, "a temporary file stayed open"


def test_bare_bytes_are_never_taken_for_markup(server):
    assert b"Content-Type: text/plain; charset=utf-8" in server.ask(PATH_INFO="/bytes").head


def test_large_whole_body(server):
    assert server.ask(PATH_INFO="/big", QUERY_STRING="3000001").body == bytes(3_000_001)


# Processes


def test_connections_over_the_limit_wait_for_their_turn(start):
    server = start("native", "--limit", "connections=3")
    crowd = [server.connect() for _ in range(3)]
    for sock in crowd:
        sock.sendall(wire.request(PATH_INFO="/hello"))
        read_answer(sock)
    with server.connect() as late:
        late.sendall(wire.request(flags=0, PATH_INFO="/hello"))
        assert select.select([late], [], [], 0.3)[0] == []
        crowd.pop().close()
        assert wire.answer(read_to_end(late)).body == b"hello"
    for sock in crowd:
        sock.close()


def test_only_allowed_users_may_connect(start):
    if os.geteuid() == 0:
        refused = start("native", "--allow-uid", "54321")
        with refused.connect() as sock:
            assert is_closed(sock)
        refused.wait_for(lambda: "user id 0" in refused.log, "a word about it")
    allowed = start("native", "--allow-uid", str(os.geteuid()))
    assert allowed.ask(PATH_INFO="/hello").body == b"hello"


def test_flood_of_management_records_is_bounded(start):
    server = start("native", "--limit", "output_buffer=65536")
    with server.connect() as sock:
        assert is_cut_off(sock, wire.record(200, 0) * 4000, times=400)
    assert server.ask(PATH_INFO="/hello").body == b"hello"


# Several workers


def test_workers_share_the_listener_and_are_replaced(start):
    server = start("native", "--workers", "3")
    pids = set()
    server.wait_for(lambda: len(pids.add(server.ask(PATH_INFO="/pid").body) or pids) >= 1, "workers")
    assert str(server.pid).encode() not in pids
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/die"))
        assert is_closed(sock)
    server.wait_for(lambda: "exited with status 9; a new one starts" in server.log, "a word about the death")
    for _ in range(20):
        assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_workers_end_when_their_parent_is_killed(start):
    server = start("native", "--workers", "2")
    server.wait_for(lambda: len(children(server.pid)) == 2, "two workers")
    workers = children(server.pid)
    server.process.kill()
    server.process.wait()
    server.wait_for(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in workers), "the workers' end")


def test_workers_all_drain_on_one_signal(start):
    server = start("native", "--workers", "2")
    server.wait_for(lambda: len(children(server.pid)) == 2, "two workers")
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING="10,0.05"))
        sock.recv(1)
        server.process.terminate()
        assert read_to_end(sock).endswith(wire.record(wire.END, 1, bytes(8)))
    assert server.process.wait(10) == 0


# Command line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bind", "unix:/x/y/z", "applications:native"], "cannot listen on unix:/x/y/z: No such file or directory"),
        (["--bind", "nonsense", "applications:native"], "an address is unix:/path"),
        (["--bind", "unix:S", "nonsense"], "write MODULE:CALLABLE"),
        (["--bind", "unix:S", "no_such_module:app"], "no module 'no_such_module'"),
        (["--bind", "unix:S", "applications:nobody"], "has no 'nobody'"),
        (["--bind", "unix:S", "applications:STATE"], "cannot be called"),
        (["--bind", "unix:S", "--limit", "size=3", "applications:native"], "there is no limit 'size'"),
        (["--bind", "unix:S", "--limit", "body=x", "applications:native"], "positive whole number"),
        (["--bind", "unix:S", "--workers", "0", "applications:native"], "workers is 1 or more"),
        (["--bind", "unix:S", "--socket-group", "no-such-group", "applications:native"], "no group 'no-such-group'"),
    ],
)
def test_mistakes_on_the_command_line_are_named(tmp_path, arguments, words):
    command = [sys.executable, "-m", "fastcore", "--path", str(ROOT / "tests/support"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=30
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
