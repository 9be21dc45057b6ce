"""Long files, which go from the file to the socket inside the kernel: whole, mixed, cut, given up, and refused."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest
import wire
from fcgi_server import read_to_end
from loop_thread import LoopThread

from fastcore.files import FileBody

SIZE = 3_500_000
DEADLINE = 20.0  # seconds, of what has to come


@pytest.fixture
def file(tmp_path):
    """A file of three and a half megabytes, no two places alike."""
    path = tmp_path / "file"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range(SIZE // 8)))
    return path


class Application:
    """/file?START-END: that part of the file, with its length unless QUERY_STRING is "unknown"; else a page."""

    def __init__(self, path):
        self.path = path
        self.bodies = []

    def __call__(self, request):
        if request.get("PATH_INFO") != "/file":
            return b"page"
        query = request.get("QUERY_STRING", "")
        start, end = map(int, query.split("-")) if "-" in query else (0, SIZE)
        body = FileBody(open(self.path, "rb"), start, end - start)  # noqa: SIM115 - the server closes it
        self.bodies.append(body)
        length = [] if query == "unknown" else [("Content-Length", str(end - start))]
        return 200, [("Content-Type", "application/octet-stream"), *length], body


@pytest.fixture
def application(file):
    return Application(file)


@pytest.fixture
def loop(twin, application, tmp_path):
    with LoopThread(twin, application, tmp_path) as running:
        yield running
    assert all(body.file.closed for body in application.bodies)


def begin_slowly(loop, **parameters):
    """A connection whose client has asked for the file and read only a little."""
    sock = loop.connect()
    sock.sendall(wire.request(PATH_INFO="/file", **parameters))
    return sock, sock.recv(1000)


def wait_until_full(sock):
    """Until the server has sent what fits: no more comes in."""
    end, before = time.monotonic() + DEADLINE, -1
    while time.monotonic() < end:
        waiting = len(sock.recv(1 << 22, socket.MSG_PEEK))
        if waiting == before:
            return
        before = waiting
        time.sleep(0.05)


@pytest.mark.parametrize("start", [0, 1, 4095, 4096, 61_440, 100_001])
@pytest.mark.parametrize("length", [61_440, 122_881, 200_000, 131_056 + 61_440, 131_056 + 61_441, 1_000_000])
def test_any_part_of_a_file_is_sent_exactly(loop, file, start, length):
    answer = loop.ask(PATH_INFO="/file", QUERY_STRING=f"{start}-{start + length}")
    assert answer.body == file.read_bytes()[start : start + length]
    assert (answer.app_status, answer.protocol_status) == (0, 0)


@pytest.mark.parametrize("query", ["", "unknown"])
def test_client_that_reads_slowly_gets_all_of_it(loop, file, query):
    sock, data = begin_slowly(loop, QUERY_STRING=query)
    with sock:
        while len(data) < 1_000_000:
            data += sock.recv(997)
        sock.shutdown(socket.SHUT_WR)
        answer = wire.answer(data + read_to_end(sock))
    assert answer.body == file.read_bytes()
    assert answer.app_status == 0


def test_files_and_pages_of_one_connection_share_it(loop, file):
    """Each of three files goes on while the others do, and pages come in between."""
    whole = file.read_bytes()
    with loop.connect() as sock:
        for number in (1, 2, 3):
            sock.sendall(wire.request(number, PATH_INFO="/file"))
        for number in (4, 5):
            sock.sendall(wire.request(number, PATH_INFO="/"))
        sock.shutdown(socket.SHUT_WR)
        records = wire.records(read_to_end(sock))
    for number in (1, 2, 3):
        assert wire.answer(records, number).body == whole
    assert wire.answer(records, 4).body == wire.answer(records, 5).body == b"page"
    ends = [record.id for record in records if record.type == wire.END]
    assert set(ends[:2]) == {4, 5}
    turns = [number for number, _ in itertools.groupby(record.id for record in records if record.type == wire.STDOUT)]
    assert len(turns) > 30


def test_other_connections_go_on_beside_one_that_does_not_read(loop):
    sock, _ = begin_slowly(loop)
    with sock:
        assert [loop.ask(PATH_INFO="/").body for _ in range(20)] == [b"page"] * 20


def test_management_record_is_answered_between_two_records_of_the_file(loop, file):
    sock, data = begin_slowly(loop)
    with sock:
        wait_until_full(sock)
        sock.sendall(wire.record(wire.GET_VALUES, 0, wire.pairs({"FCGI_MPXS_CONNS": ""})))
        sock.shutdown(socket.SHUT_WR)
        records = wire.records(data + read_to_end(sock))
    assert [record.type for record in records if record.id == 0] == [wire.GET_VALUES_RESULT]
    assert wire.answer(records).body == file.read_bytes()


def test_abort_in_the_middle_leaves_the_connection_in_order(loop, application):
    sock, data = begin_slowly(loop)
    with sock:
        wait_until_full(sock)
        sock.sendall(wire.record(wire.ABORT, 1) + wire.request(2, PATH_INFO="/"))
        sock.shutdown(socket.SHUT_WR)
        records = wire.records(data + read_to_end(sock))
    assert wire.answer(records, 2).body == b"page"
    assert wire.answer(records, 1).app_status == 1
    assert application.bodies[0].file.closed


@pytest.mark.parametrize("query", ["", "unknown"])
@pytest.mark.parametrize("harm", ["cut", "closed"])
def test_file_that_is_lost_in_the_middle_of_a_record_never_looks_whole(loop, application, file, query, harm):
    """What is missing of the record that was announced is zeros; then the answer is broken off."""
    whole = file.read_bytes()
    sock, data = begin_slowly(loop, QUERY_STRING=query)
    with sock:
        wait_until_full(sock)
        if harm == "cut":
            os.truncate(file, 100)
        else:
            application.bodies[0].file.close()
        answer = wire.answer(data + read_to_end(sock))
    assert answer.broken if query else answer.app_status == 1
    assert len(answer.body) < SIZE
    real = answer.body.rstrip(b"\0")
    if harm == "closed":
        assert whole.startswith(real)
        assert len(answer.body) - len(real) < 65_536
    assert any("while it was sent" in line or "was closed" in line or "shorter" in line for line in loop.said)
    assert loop.ask(PATH_INFO="/").body == b"page"


def test_detached_file_is_sent_and_the_worker_goes_on(twin, file, tmp_path):
    """`closed` of a detached io.BufferedReader raises ValueError."""
    files = []

    def app(request):
        files.append(open(file, "rb"))  # noqa: SIM115 - detached below
        return 200, [], FileBody(files[-1], 0, SIZE)

    with LoopThread(twin, app, tmp_path) as loop:
        sock, data = begin_slowly(loop)
        with sock:
            wait_until_full(sock)
            files[0].detach()
            sock.shutdown(socket.SHUT_WR)
            answer = wire.answer(data + read_to_end(sock))
        assert answer.body == file.read_bytes()
        assert loop.ask(PATH_INFO="/file").body == file.read_bytes()


@pytest.mark.parametrize(
    ("offset", "length", "status", "sent"),
    [
        (10, 0, b"200", 0),
        (10, -20, b"200", 0),
        (-5, 10, b"500", 26),
        (SIZE - 9, 1 << 70, b"200", 9),
        (1 << 62, 9, b"200", 0),
    ],
)
def test_part_that_the_file_has_not_is_answered_as_iterating_would(twin, file, tmp_path, offset, length, status, sent):
    def app(request):
        return 200, [], FileBody(open(file, "rb"), offset, length)

    with LoopThread(twin, app, tmp_path) as loop:
        answer = loop.ask(PATH_INFO="/file")
    assert answer.head.startswith(b"Status: " + status)
    assert len(answer.body) == sent


def test_client_that_leaves_ends_it(loop, application):
    sock, _ = begin_slowly(loop)
    wait_until_full(sock)
    sock.close()
    end = time.monotonic() + DEADLINE
    while not application.bodies[0].file.closed and time.monotonic() < end:
        loop.ask(PATH_INFO="/")
    assert application.bodies[0].file.closed


def test_file_that_grows_is_sent_as_long_as_was_said(loop, file):
    sock, data = begin_slowly(loop)
    with sock:
        with file.open("ab") as grown:
            grown.write(b"more" * 100_000)
        sock.shutdown(socket.SHUT_WR)
        answer = wire.answer(data + read_to_end(sock))
    assert answer.body == file.read_bytes()[:SIZE]


def test_head_sends_nothing_of_it(loop):
    answer = loop.ask(PATH_INFO="/file", REQUEST_METHOD="HEAD")
    assert f"Content-Length: {SIZE}".encode() in answer.head
    assert answer.body == b""


def test_coroutine_that_answers_a_file(twin, application, file, tmp_path):
    async def later(request):
        return application(request)

    with LoopThread(twin, later, tmp_path) as loop:
        assert loop.ask(PATH_INFO="/file").body == file.read_bytes()
        sock, data = begin_slowly(loop)
        with sock:
            wait_until_full(sock)
            sock.sendall(wire.record(wire.ABORT, 1))
            records = []
            while not records or records[-1].type != wire.END:
                data += sock.recv(1 << 20)
                try:
                    records = wire.records(data)
                except AssertionError:  # not whole yet
                    continue
        assert wire.answer(records).app_status == 1
    assert all(body.file.closed for body in application.bodies)


REFUSING = """
#include <errno.h>
#include <sys/types.h>
static ssize_t refuse(void) { errno = EINVAL; return -1; }
ssize_t sendfile(int out, int in, off_t *at, size_t size) { return refuse(); }
ssize_t sendfile64(int out, int in, off_t *at, size_t size) { return refuse(); }
"""

SERVING = """
    import signal, sys
    from fastcore.files import FileBody

    if sys.argv[1] == "signal":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    def application(request):
        return 200, [("Content-Type", "text/plain")], FileBody(open(sys.argv[2], "rb"), 0, 3_500_000)
"""

CHECKING = """
    from pathlib import Path
    from loop_thread import LoopThread
    from fastcore.implementation import twin

    with LoopThread(twin(sys.argv[3]), application, Path(sys.argv[4])) as loop:
        with loop.connect() as leaving:
            import wire
            leaving.sendall(wire.request(PATH_INFO="/"))
            leaving.recv(1)
        assert loop.ask(PATH_INFO="/").body == open(sys.argv[2], "rb").read()
    print("served")
"""


@pytest.mark.parametrize("reason", ["file system", "signal"])
def test_file_is_read_where_sendfile_is_refused_or_would_be_deadly(twin, file, tmp_path, reason):
    """A file system says EINVAL; SIGPIPE would end the process when the client leaves."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if reason == "file system":
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler")
        (tmp_path / "refusing.c").write_text(REFUSING)
        library = tmp_path / "refusing.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "refusing.c"], check=True)
        environment["LD_PRELOAD"] = " ".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)]))
    (tmp_path / "sockets").mkdir()
    program = textwrap.dedent(SERVING) + textwrap.dedent(CHECKING)
    done = subprocess.run(
        [sys.executable, "-c", program, reason.split()[0], str(file), twin.name, str(tmp_path / "sockets")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr
    assert done.returncode != -signal.SIGPIPE
