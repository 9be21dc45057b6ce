"""The worker loop through real sockets, on both twins. A number in a name is the line of the conformance checklist."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest
import wire
from fcgi_server import ROOT, Server, is_closed, read_answer, read_to_end


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


def is_cut_off(sock, data, *, times, pause=0.0):
    """Whether the server closes the connection while the same bytes are sent again and again."""
    for _ in range(times):
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return True
        time.sleep(pause)
    return False


@pytest.fixture
def server(start):
    return start()


@pytest.mark.parametrize(("application", "path"), [("native", "/empty"), ("wsgi", "/errors")])
def test_empty_body_ends_the_answer(start, application, path):
    assert start(application).ask(PATH_INFO=path).body == b""


# Framing and life of a connection


def test_04_bad_version_closes_that_connection_only(server):
    with server.connect() as good, server.connect() as bad:
        good.sendall(
            wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"})
        )
        bad.sendall(wire.record(wire.BEGIN, 1, bytes(8), version=9))
        assert is_closed(bad)
        good.sendall(wire.stdin(1, b"fine"))
        assert read_answer(good).body == b"fine"
    assert "does not speak FastCGI: FastCGI version 9 instead of 1" in server.log


def test_08_end_request_is_the_last_byte_and_in_one_write_with_the_answer(server):
    """nginx keeps a connection only if END_REQUEST is the last byte it has; Apache reads it by one recv()."""
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/hello"))
        data = sock.recv(65536)
    assert wire.answer(data).body == b"hello"


def test_17_100_requests_on_one_connection_each_get_their_own_answer(server):
    with server.connect() as sock:
        for number in range(1, 101):
            body = b"body %d" % number
            sock.sendall(wire.request(number % 7 + 1, body, PATH_INFO="/echo"))
            assert read_answer(sock, number % 7 + 1).body == body


def test_24_connection_stays_or_closes_as_asked(server):
    for path in ("/hello", "/boom", "/early"):
        with server.connect() as sock:
            sock.sendall(wire.request(PATH_INFO=path) + wire.request(2, PATH_INFO="/hello"))
            assert read_answer(sock, 2).body == b"hello"
            sock.sendall(wire.request(3, flags=0, PATH_INFO=path))
            assert wire.answer(read_to_end(sock), 3).status in (200, 500)


def test_26_request_without_keep_connection_lets_the_others_finish(server):
    post = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"}
    with server.connect() as sock:
        sock.sendall(wire.begin(1) + wire.params(1, post) + wire.request(2, flags=0, PATH_INFO="/hello"))
        assert read_answer(sock, 2).body == b"hello"
        sock.sendall(wire.stdin(1, b"slow"))
        assert wire.answer(read_to_end(sock), 1).body == b"slow"


def test_27_multiplexed_answers_interleave(server):
    with server.connect() as sock:
        sock.sendall(
            wire.request(1, PATH_INFO="/many", QUERY_STRING="40,50000")
            + wire.request(2, PATH_INFO="/many", QUERY_STRING="40,50000")
        )
        data = b""
        while data.count(wire.record(wire.END, 1, bytes(8))) + data.count(wire.record(wire.END, 2, bytes(8))) < 2:
            data += sock.recv(1 << 20)
    order = [record.id for record in wire.records(data) if record.type == wire.STDOUT and record.content]
    assert order.count(1) == order.count(2) == 40
    assert order.index(2) < 5, "the second answer waited for the whole first one"
    assert order[-5:] != [2] * 5


def test_27_one_slow_stdin_stalls_nobody(server):
    with server.connect() as slow, server.connect() as other:
        slow.sendall(
            wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "4", "PATH_INFO": "/echo"})
        )
        for _ in range(20):
            other.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(other).body == b"hello"
        slow.sendall(wire.stdin(1, b"done"))
        assert read_answer(slow).body == b"done"


# Input


@pytest.mark.parametrize(("length", "status"), [("-1", 400), ("1,2", 400), ("99999999999", 413)])
def test_38_bad_content_length_never_reaches_the_application(server, length, status):
    answer = server.ask(
        wire.begin(flags=0)
        + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": length, "PATH_INFO": "/die"})
        + wire.stdin(1, b"x")
    )
    assert answer.status == status


def test_39_early_answer_drains_all_input_without_a_reset(server):
    """A client that writes all before it reads (Caddy, mod_fcgid) gets its 413 and no ECONNRESET."""
    with server.connect() as sock:
        sock.sendall(wire.begin(flags=0) + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "99999999999"}))
        for _ in range(50):
            sock.sendall(wire.record(wire.STDIN, 1, bytes(65535)))
        sock.sendall(wire.record(wire.STDIN, 1))
        assert wire.answer(read_to_end(sock)).status == 413


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


def test_41_slow_reader_costs_one_bounded_buffer_and_others_go_on(start, tmp_path):
    server = start("native", "--limit", "output_buffer=100000")
    closed = tmp_path / "closed"
    with server.connect() as slow:
        slow.sendall(wire.request(PATH_INFO="/many", QUERY_STRING=f"4000,50000,{closed}"))
        assert slow.recv(1000)
        for _ in range(20):
            assert server.ask(PATH_INFO="/hello").body == b"hello"
        with open(f"/proc/{server.pid}/status") as status:
            resident = next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
        assert resident < 100_000, f"{resident} KiB resident with 200 MB to send"
        assert not closed.exists()
    server.wait_for(closed.exists, "close() of the body")
    assert closed.read_text() == "closed\n"


# Output


def test_47_errors_interleave_without_cutting_the_head(server):
    answer = server.ask(PATH_INFO="/errors")
    assert answer.stderr == b"first complaint\n"
    assert answer.status == 200
    assert answer.body == b"complained"


def test_48_status_line_always_and_no_header_injection(server):
    assert server.ask(PATH_INFO="/hello").head == b"Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5"
    answer = server.ask(PATH_INFO="/bad-header")
    assert answer.status == 500
    assert b"Set-Cookie" not in answer.stdout
    assert "has a control character" in server.log


@pytest.mark.parametrize("status", ["204", "304"])
def test_49_no_body_where_there_may_be_none(server, status):
    assert server.ask(PATH_INFO="/status", QUERY_STRING=status).body == b""


def test_49_head_has_the_length_and_no_body(server):
    answer = server.ask(REQUEST_METHOD="HEAD", PATH_INFO="/hello")
    assert b"Content-Length: 5" in answer.head
    assert answer.body == b""


def test_49_content_length_over_and_under_run(server):
    short = server.ask(PATH_INFO="/short")
    assert (short.body, short.app_status) == (b"four", 1)
    over = server.ask(PATH_INFO="/over")
    assert (over.body, over.app_status) == (b"four", 1)
    assert server.ask(PATH_INFO="/mismatch").status == 500
    assert "shorter than its Content-Length: 6 bytes are missing" in server.log
    assert "longer than its Content-Length" in server.log


@pytest.mark.parametrize("path", ["/boom", "/exit", "/early", "/bad-status", "/bad-body", "/nothing"])
def test_50_failure_before_the_head_is_a_500_without_inner_text(server, path):
    answer = server.ask(PATH_INFO=path)
    assert answer.status == 500
    assert answer.body == b"500 Internal Server Error\n"
    assert answer.app_status == 0
    assert f"GET {path!r}" in server.log


@pytest.mark.parametrize(("path", "so_far"), [("/late", b"so far so good"), ("/bad-chunk", b"good")])
def test_50_failure_after_the_head_is_visible_in_app_status(server, path, so_far):
    answer = server.ask(PATH_INFO=path)
    assert answer.body == so_far
    assert answer.app_status == 1


def test_51_each_yield_is_one_record_at_once(server):
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING="3,0.2"))
        arrivals = []
        found = []
        while not any(record.type == wire.END for record in found):
            found += wire.records(sock.recv(65536))
            arrivals.append(len(found))
    assert [record.content[-1:] for record in found if record.type == wire.STDOUT] == [b"0", b"1", b"2", b""]
    assert arrivals[:2] == [1, 2], "the first pieces waited for later ones"


def test_bare_bytes_are_never_taken_for_markup(server):
    assert b"Content-Type: text/plain; charset=utf-8" in server.ask(PATH_INFO="/bytes").head


def test_large_whole_body(server):
    assert server.ask(PATH_INFO="/big", QUERY_STRING="3000001").body == bytes(3_000_001)


# Abort and close


def test_53_abort_while_running_gets_exactly_one_end(server, tmp_path):
    closed = tmp_path / "closed"
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING=f"1000,0.01,{closed}"))
        first = sock.recv(100)
        sock.sendall(wire.record(wire.ABORT, 1))
        data = first
        while wire.record(wire.END, 1, b"\0\0\0\1\0\0\0\0") not in data:
            data += sock.recv(65536)
        sock.sendall(wire.record(wire.ABORT, 1) + wire.request(2, PATH_INFO="/hello"))
        assert read_answer(sock, 2).body == b"hello"
    assert closed.read_text() == "closed\n"


def test_54_abort_of_one_multiplexed_request_leaves_the_others(server):
    with server.connect() as sock:
        sock.sendall(
            wire.request(1, PATH_INFO="/slow", QUERY_STRING="500,0.01")
            + wire.request(2, PATH_INFO="/slow", QUERY_STRING="20,0.01")
        )
        sock.recv(10)
        sock.sendall(wire.record(wire.ABORT, 1))
        data = b""
        while wire.record(wire.END, 2, bytes(8)) not in data:
            data += sock.recv(65536)
    assert wire.record(wire.END, 1, b"\0\0\0\1\0\0\0\0") in data


def test_55_peer_gone_in_mid_request_closes_the_body_and_kills_nobody(server, tmp_path):
    closed = tmp_path / "closed"
    server.settle()
    before = server.descriptors()
    for _ in range(5):
        with server.connect() as sock:
            sock.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING=f"10000,0.01,{closed}"))
            sock.recv(1)
    server.wait_for(lambda: closed.exists() and closed.read_text() == "closed\n" * 5, "close() of five bodies")
    with server.connect() as sock:
        sock.sendall(wire.begin() + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "10"}))
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    server.wait_for(lambda: server.descriptors() == before, "the connections' descriptors")


def test_56_half_close_after_the_request_still_gets_the_whole_answer(server):
    for flags in (0, 1):
        with server.connect() as sock:
            sock.sendall(wire.request(flags=flags, PATH_INFO="/slow", QUERY_STRING="5,0.02"))
            sock.shutdown(socket.SHUT_WR)
            assert wire.answer(read_to_end(sock)).body == b"01234"


def test_57_client_that_leaves_before_the_end_is_no_news(server):
    for _ in range(20):
        with server.connect() as sock:
            sock.sendall(wire.request(flags=0, PATH_INFO="/big", QUERY_STRING="200000"))
            sock.recv(100)
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert server.log.count("\n") == 1, server.log  # the line that says it is up


# Processes


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET, socket.AF_INET6])
def test_58_listener_on_descriptor_0(twin_environment, tmp_path, family):
    """lighttpd's bin-path and spawn-fcgi hand over the listener as descriptor 0."""
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.bind(
            {socket.AF_UNIX: str(tmp_path / "s"), socket.AF_INET: ("127.0.0.1", 0), socket.AF_INET6: ("::1", 0)}[family]
        )
    except OSError:
        pytest.skip("no IPv6 on this machine")
    listener.listen(8)
    command = [
        sys.executable,
        "-m",
        "fastcore",
        "--bind",
        "fd:0",
        "--path",
        str(ROOT / "tests/support"),
        "applications:wsgi",
    ]
    process = subprocess.Popen(
        command, stdin=listener, stderr=subprocess.PIPE, env={**twin_environment, "PYTHONPATH": str(ROOT)}
    )
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(listener.getsockname())
            sock.sendall(wire.request(flags=0, PATH_INFO="/"))
            assert wire.answer(read_to_end(sock)).body == b"hello"
    finally:
        process.terminate()
        process.communicate(timeout=10)
        listener.close()
    assert process.returncode == 0


def test_58_descriptor_that_is_no_listener_is_refused(twin_environment):
    command = [
        sys.executable,
        "-m",
        "fastcore",
        "--bind",
        "fd:0",
        "--path",
        str(ROOT / "tests/support"),
        "applications:wsgi",
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**twin_environment, "PYTHONPATH": str(ROOT)},
        timeout=30,
    )
    assert done.returncode == 1
    assert "descriptor 0 is no socket" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_60_signal_finishes_what_has_begun_and_exits_0(server, number):
    with server.connect() as running, server.connect() as idle:
        idle.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(idle).body == b"hello"
        running.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING="20,0.05"))
        running.recv(1)
        os.kill(server.pid, number)
        assert is_closed(idle)
        assert server.process.poll() is None
        assert read_to_end(running).endswith(wire.record(wire.END, 1, bytes(8)))
    assert server.process.wait(10) == 0
    assert not server.path.exists()


def test_60_second_signal_forces(server):
    with server.connect() as sock:
        sock.sendall(wire.request(PATH_INFO="/slow", QUERY_STRING="1000,0.05"))
        sock.recv(1)
        os.kill(server.pid, signal.SIGTERM)
        time.sleep(0.3)
        assert server.process.poll() is None
        os.kill(server.pid, signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_61_accept_survives_running_out_of_descriptors(start):
    server = start()
    server.settle()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.descriptors() + 10, 4096))
    crowd = [server.connect() for _ in range(40)]
    server.wait_for(lambda: "cannot accept a connection" in server.log, "a word about it")
    for sock in crowd:
        sock.close()
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    assert server.log.count("cannot accept") < 5


def test_61_more_than_1024_descriptors(start):
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


def test_62_socket_has_its_mode_whatever_the_umask(start, tmp_path, twin_environment):
    for umask in (0o000, 0o077):
        before = os.umask(umask)
        try:
            server = start()
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o660
    server = start("native", "--socket-mode", "0600")
    assert stat.S_IMODE(os.stat(server.path).st_mode) == 0o600


def test_62_stale_socket_is_replaced_and_a_live_one_is_not(start, twin_environment):
    server = start()
    second = Server(server.path.parent, twin_environment)
    second.log_path = server.path.parent / "log2"
    second.start()
    assert second.process.wait(10) == 1
    assert "another process listens" in second.log
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    server.process.kill()
    server.process.wait()
    assert server.path.exists()
    with Server(server.path.parent, twin_environment) as again:
        again.wait_for(lambda: "applications:native" in again.log, "the new server")
        assert again.ask(PATH_INFO="/hello").body == b"hello"


def test_62_path_that_is_no_socket_is_left_alone(twin_environment, tmp_path):
    (tmp_path / "s").write_text("precious")
    server = Server(tmp_path, twin_environment)
    server.start()
    assert server.process.wait(10) == 1
    assert "exists and is no socket" in server.log
    assert (tmp_path / "s").read_text() == "precious"


def test_63_time_outs(start):
    server = start("native", *(f"--limit={name}_timeout=1" for name in ("header", "body", "idle", "write", "linger")))
    with server.connect() as silent, server.connect() as half, server.connect() as idle, server.connect() as slow:
        half.sendall(wire.begin() + wire.record(wire.PARAMS, 1, b"\1"))
        idle.sendall(wire.request(PATH_INFO="/hello"))
        assert read_answer(idle).body == b"hello"
        slow.sendall(
            wire.begin(flags=0)
            + wire.params(1, {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": "9"})
            + wire.record(wire.STDIN, 1, b"x")
        )
        assert is_closed(silent)
        assert is_closed(half)
        assert is_closed(idle)
        assert wire.answer(read_to_end(slow)).status == 408


def test_63_dripping_params_do_not_hold_a_connection(start):
    server = start("native", *(f"--limit={name}_timeout=1" for name in ("header", "body", "idle", "write", "linger")))
    with server.connect() as sock:
        sock.sendall(wire.begin())
        assert is_cut_off(sock, wire.record(wire.PARAMS, 1, wire.pair(b"A", b"b")), times=200, pause=0.05)


def test_64_nothing_of_one_request_is_seen_by_the_next(server):
    with server.connect() as sock:
        for number in range(100):
            sock.sendall(wire.request(PATH_INFO="/environ", **{f"ONLY_{number}": "x"}))
            seen = dict(eval(read_answer(sock).body))
            assert [name for name in seen if name.startswith("ONLY_")] == [f"ONLY_{number}"]


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


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


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
