"""A server in bad company: no room on the disk, no processes, signals ignored by its parent, users with large ids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import wire
from fcgi_server import ROOT, Server


@pytest.fixture
def start(tmp_path, twin_environment):
    """A function that starts a server; all are stopped afterwards."""
    servers = []

    def started(application="native", *options, python=()):
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        server = Server(directory, twin_environment, application, *options)
        if python:  # run something else than the module, with the same arguments
            server._command[1:3] = python
        servers.append(server)
        return server.__enter__()

    yield started
    for server in servers:
        server.__exit__()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


RUN = "import runpy, sys; sys.argv[0] = 'fastcore'; runpy.run_module('fastcore', run_name='__main__')"


@pytest.mark.parametrize("size", [3_000, 20_000])
def test_body_that_does_not_fit_the_disk_is_a_507_and_the_next_is_served(start, size):
    """3,000 bytes fail when they are flushed at the end, 20,000 while the last piece is written."""
    before = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY)); "
    server = start("native", "--limit", "body_memory=1000", python=("-c", before + RUN))
    body = wire.request(1, bytes(size), flags=0, PATH_INFO="/length")
    for _ in range(3):
        assert server.ask(body).status == 507
    assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_client_that_leaves_does_not_end_an_application_that_wants_sigpipe(start):
    before = "import signal; signal.signal(signal.SIGPIPE, signal.SIG_DFL); "
    server = start("native", python=("-c", before + RUN))
    for _ in range(5):
        with server.connect() as sock:
            sock.sendall(wire.request(flags=0, PATH_INFO="/many", QUERY_STRING="200,10000"))
            sock.recv(1)
    assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_worker_is_replaced_where_sigchld_was_ignored(start):
    before = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
    server = start("native", "--workers", "2", python=("-c", before + RUN))
    server.wait_for(lambda: len(children(server.pid)) == 2, "two workers")
    first = children(server.pid)
    os.kill(first[0], signal.SIGKILL)
    server.wait_for(lambda: len(set(children(server.pid)) - {first[0]}) == 2, "another worker")
    assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_failing_fork_leaves_the_other_workers_at_work(start):
    """The third fork and the fourth fail, as where the processes of a user are used up."""
    before = (
        "import os, errno; fork, count = os.fork, iter(range(100))\n"
        "def failing():\n"
        "    if next(count) in (2, 3): raise OSError(errno.EAGAIN, 'Resource temporarily unavailable')\n"
        "    return fork()\n"
        "os.fork = failing\n"
    )
    server = start("native", "--workers", "2", python=("-c", before + RUN))
    server.wait_for(lambda: len(children(server.pid)) == 2, "two workers")
    os.kill(children(server.pid)[0], signal.SIGKILL)
    server.wait_for(lambda: server.log.count("cannot start a worker: Resource temporarily unavailable") == 2, "a word")
    server.wait_for(lambda: len(children(server.pid)) == 2, "another worker")
    assert server.ask(PATH_INFO="/hello").body == b"hello"


CLIENT = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(sys.argv[2])
    sock.sendall(bytes.fromhex(sys.argv[3]))
    while data := sock.recv(65536):
        sys.stdout.buffer.write(data)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_user_ids_over_31_bits_are_recognised(twin_environment):
    """Those of user namespaces."""
    request = wire.request(flags=0, PATH_INFO="/hello").hex()
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        options = ("--allow-uid", "3000000000", "--socket-mode", "0666")
        with Server(Path(name), twin_environment, "native", *options) as server:

            def ask_as(uid):
                command = [sys.executable, "-c", CLIENT, str(uid), str(server.path), request]
                return subprocess.run(command, capture_output=True, timeout=30).stdout

            assert wire.answer(ask_as(3_000_000_000)).body == b"hello"
            assert ask_as(3_000_000_001) == b""


def test_log_without_standard_error_is_not_written_to_a_client(twin_environment):
    """Descriptor 2 was closed at the start, so the first socket gets its number."""
    code = (
        "import os, sys, socket\n"
        "from fastcore.log import stderr_log\n"
        "assert sys.stderr is None\n"
        "listener = socket.socket(socket.AF_UNIX)\n"
        "assert listener.fileno() == 2\n"
        "a, b = socket.socketpair()\n"
        "listener.close(); c = a.dup(); assert c.fileno() == 2\n"
        "stderr_log('secret'); b.setblocking(False)\n"
        "try: b.recv(10)\n"
        "except BlockingIOError: os._exit(0)\n"
        "os._exit(1)\n"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code],
        env={**twin_environment, "PYTHONPATH": str(ROOT)},
        timeout=30,
    )
    assert done.returncode == 0


def test_mistake_in_the_module_of_the_application_keeps_its_traceback(tmp_path, twin_environment):
    (tmp_path / "mistaken.py").write_text("port = int('eighty')\n")
    command = [sys.executable, "-m", "fastcore", "--bind", f"unix:{tmp_path}/s", "mistaken:application"]
    environment = {**twin_environment, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=30)
    assert done.returncode == 1
    assert 'mistaken.py", line 1' in done.stderr
