"""fastcore.flup's servers as processes: signals and return values, who may connect, workers, time limits."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import wire
from fcgi_server import is_closed, read_to_end
from flup_server import SCRIPT, FlupServer, cases_command
from ports import free_port

LIBRARY = "fastcore.flup"
KINDS = ("fcgi", "fcgi_fork", "fcgi_single")


@pytest.fixture
def server(tmp_path, twin_environment):
    """A function that makes a server, not yet started; all are ended afterwards."""
    servers = []

    def made(kind="fcgi", environment=(), **options):
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        command = cases_command(LIBRARY, kind, **options)
        servers.append(FlupServer(directory, command, {**twin_environment, **dict(environment)}))
        return servers[-1]

    yield made
    for each in servers:
        if each.process is not None and each.process.poll() is None:
            each.end()
        each.kill()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


# Life


@pytest.mark.parametrize("kind", KINDS)
def test_run_returns_true_on_sighup_and_false_on_the_other_signals(server, kind):
    for name in ("SIGHUP", "SIGTERM", "SIGINT", "SIGQUIT", "SIGUSR1"):
        running = server(kind).start()
        assert running.ask().body == b"hello"
        assert running.end(signal.Signals[name]) == str(name == "SIGHUP")
        assert running.process.returncode == 0
        assert not running.path.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_request_is_answered_before_run_returns(server, kind):
    running = server(kind).start()
    with running.connect() as sock:
        sock.sendall(wire.request(flags=0, HTTP_CASE="slow", HTTP_SECONDS="1", PATH_INFO="/"))
        sock.recv(1)
        running.process.send_signal(signal.SIGHUP)
        assert read_to_end(sock).endswith(wire.record(wire.END, 1, bytes(8)))
    running.process.wait(20)
    assert running.output.endswith("True\n")


def test_a_caller_that_starts_itself_anew_on_sighup(tmp_path, twin_environment):
    (tmp_path / "script.py").write_text(
        "import os, sys\n"
        "from fastcore.flup.server.fcgi_fork import WSGIServer\n"
        "from flup_cases import application\n"
        "print('started', flush=True)\n"
        "if WSGIServer(application, bindAddress='s', maxChildren=2).run():\n"
        "    os.execv(sys.executable, [sys.executable, *sys.argv])\n"
    )
    running = FlupServer(tmp_path, ["script.py"], twin_environment).start()
    try:
        for count in (2, 3):
            running.process.send_signal(signal.SIGHUP)
            running.wait_for(lambda count=count: running.output.count("started") == count, "the new start")
            running.wait_for(lambda: running.path.exists(), "the new socket")
            assert int(running.ask("pid").body.split()[1]) == running.pid
        running.end()
        assert running.process.returncode == 0
    finally:
        running.kill()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_sent_as_soon_as_the_socket_is_there_is_heeded(tmp_path, twin_environment, workers, number):
    program = (
        "import fastcore, os, signal, flup_cases\n"
        f"ended_by = fastcore.serve(flup_cases.application, 'unix:s', workers={workers},\n"
        "    end_signals=(signal.SIGTERM, signal.SIGHUP), on_ready=lambda: os.kill(os.getpid(), %d))\n"
        "print(ended_by, os.path.exists('s'), signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
    )
    environment = {**twin_environment, "PYTHONPATH": os.pathsep.join((str(SCRIPT.parents[2]), str(SCRIPT.parent)))}
    command = [sys.executable, "-c", program % number]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.stdout == f"{number} False set()\n", done.stderr


def test_a_sighup_that_is_ignored_stays_ignored(tmp_path, twin_environment):
    """nohup: the terminal may go."""
    for number, kind in enumerate(KINDS):
        (tmp_path / str(number)).mkdir()
        running = FlupServer(tmp_path / str(number), cases_command(LIBRARY, kind), twin_environment)
        running.start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        try:
            running.process.send_signal(signal.SIGHUP)
            for _ in range(5):
                assert running.ask().body == b"hello"
            assert running.end() == "False"
        finally:
            running.kill()


# Workers


@pytest.mark.parametrize(
    ("kind", "options", "count"),
    [
        ("fcgi", {}, 0),
        ("fcgi", {"maxChildren": 2}, 2),
        ("fcgi_fork", {}, 5),
        ("fcgi_fork", {"maxSpare": 2}, 2),
        ("fcgi_fork", {"maxChildren": 1}, 0),
        ("fcgi_fork", {"maxSpare": 2, "maxChildren": 3}, 3),
        ("fcgi_single", {"maxChildren": 3}, 0),
    ],
)
def test_number_of_workers(server, kind, options, count):
    running = server(kind, **options).start()
    running.wait_for(lambda: len(children(running.pid)) == count, f"{count} workers")
    pid, parent = map(int, running.ask("pid").body.split())
    assert (parent if count else pid) == running.pid


def test_a_worker_is_replaced_after_max_requests_and_none_is_lost(server):
    running = server("fcgi_fork", maxChildren=1, maxRequests=5).start()
    pids = [running.ask("pid").body for _ in range(40)]
    assert len(set(pids)) >= 8
    assert all(pids.count(pid) <= 5 for pid in pids)


# Time limits


def test_timeout_ends_a_request_that_runs_too_long_and_no_other(server):
    running = server("fcgi_fork", timeout=2, maxChildren=1).start()
    answer = running.ask("busy", HTTP_SECONDS="60")
    assert answer.status == 500
    assert b"the application ran longer than 2 s for one request" in answer.stderr
    answer = running.ask("slow", HTTP_SECONDS="60")
    assert (answer.body, answer.broken) == (b"begun ", True)
    assert running.ask("busy", HTTP_SECONDS="0.1").body == b"ended"


def test_timeout_does_not_count_the_time_of_a_slow_reader(server):
    running = server("fcgi_fork", timeout=1, maxChildren=1).start()
    with running.connect() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.sendall(wire.request(flags=0, HTTP_CASE="big", PATH_INFO="/"))
        time.sleep(1.5)
        answer = wire.answer(read_to_end(sock))
    assert (len(answer.body), answer.app_status) == (2_000_000, 0)


# Sockets, and who may connect


@pytest.mark.parametrize("umask", [0o000, 0o117, 0o022])
def test_umask_gives_the_socket_its_mode(server, umask):
    running = server(umask=umask).start()
    assert stat.S_IMODE(running.path.stat().st_mode) == 0o777 & ~umask


def test_without_umask_the_process_has_its_own(server):
    before = os.umask(0o027)
    try:
        running = server().start()
    finally:
        os.umask(before)
    assert stat.S_IMODE(running.path.stat().st_mode) == 0o750


def ask_over_tcp(address, family=socket.AF_INET):
    with socket.socket(family) as sock:
        sock.connect(address)
        sock.settimeout(30)
        sock.sendall(wire.request(flags=0, PATH_INFO="/"))
        return wire.answer(read_to_end(sock)).body


def is_refused(port):
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        return is_closed(sock)


@pytest.mark.parametrize(
    ("environment", "options", "allowed"),
    [
        ({}, {}, True),
        ({"FCGI_WEB_SERVER_ADDRS": "127.0.0.1"}, {}, True),
        ({"FCGI_WEB_SERVER_ADDRS": "192.0.2.1, ::ffff:127.0.0.1"}, {}, True),
        ({"FCGI_WEB_SERVER_ADDRS": "192.0.2.1"}, {}, False),
        ({"FCGI_WEB_SERVER_ADDRS": "192.0.2.1"}, {"allowedServers": ["127.0.0.1"]}, True),
        ({}, {"allowedServers": "192.0.2.1"}, False),
    ],
)
def test_tcp_takes_the_allowed_addresses_only(server, environment, options, allowed):
    port = free_port()
    running = server(environment=environment, bindAddress=("127.0.0.1", port), **options).start(port)
    if allowed:
        assert ask_over_tcp(("127.0.0.1", port)) == b"hello"
    else:
        assert is_refused(port)
        running.wait_for(lambda: "refused a connection from 127.0.0.1, which is not allowed" in running.log, "a word")


def test_a_tuple_of_four_is_ipv6(server):
    try:
        port = free_port("::1")
    except OSError:
        pytest.skip("no IPv6")
    running = server(bindAddress=("::1", port, 0, 0))
    running.start(port, host="::1")
    assert ask_over_tcp(("::1", port), socket.AF_INET6) == b"hello"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("web.example", "FCGI_WEB_SERVER_ADDRS: 'web.example' is no IP address"),
        ("127.0.0.1;192.0.2.1", "FCGI_WEB_SERVER_ADDRS: '127.0.0.1;192.0.2.1' is no IP address"),
        ("", "FCGI_WEB_SERVER_ADDRS: '' is no IP address"),
    ],
)
def test_a_list_of_addresses_that_is_none_is_an_error(tmp_path, twin_environment, value, words):
    environment = {**twin_environment, "FCGI_WEB_SERVER_ADDRS": value, "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, *cases_command(LIBRARY, "fcgi", bindAddress=("127.0.0.1", free_port()))]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert words in done.stderr


# Descriptor 0


def test_a_listener_at_descriptor_0_is_served_whatever_the_environment_looks_like(server):
    running = server(bindAddress=None, environment={"REQUEST_METHOD": "GET", "SERVER_SOFTWARE": "lighttpd"})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(running.path))
        listener.listen()
        running.start(stdin=listener)
        assert running.ask().body == b"hello"
        assert running.end(signal.SIGHUP) == "True"


@pytest.mark.parametrize("kind", KINDS)
def test_wsgiref_validate_has_nothing_to_say(server, kind):
    running = server(kind).start()
    answer = running.ask("validated", SCRIPT_NAME="", QUERY_STRING="", SERVER_NAME="localhost", SERVER_PORT="80")
    assert answer.body == b"hello"
    assert answer.stderr == b""
