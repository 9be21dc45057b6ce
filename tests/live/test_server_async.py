"""A server process with coroutines: signals, workers, interruption, and what it costs while nothing happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import wire
from fcgi_server import ROOT, Server, children, is_asleep, is_closed, pending, read_answer

APPLICATION = "async_applications:native"


@pytest.fixture(params=("asyncio", "uvloop"))
def start(tmp_path, twin_environment, request):
    """A function that starts a server on one of the event loops; `server.notes()` is what its application saw."""
    servers = []

    def started(*options):
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        notes = directory / "notes"
        environment = {**twin_environment, "FILE": str(notes)}
        server = Server(directory, environment, APPLICATION, "--event-loop", request.param, *options)
        server.notes = lambda: notes.read_text().splitlines() if notes.exists() else []
        server.event_loop = request.param
        servers.append(server)
        return server.__enter__()

    yield started
    for server in servers:
        server.__exit__()


def ended(server, status=0):
    assert server.process.wait(20) == status, server.log
    return True


def begin(server, path, seen, **parameters):
    """A connection whose request runs; `seen` is noted by the application."""
    sock = server.connect(20)
    sock.sendall(wire.request(1, PATH_INFO=path, **parameters))
    server.wait_for(lambda: seen in server.notes(), seen, 20)
    return sock


def test_the_event_loop_asked_for_runs_from_the_first_coroutine_on(start):
    server = start()
    assert server.ask(PATH_INFO="/asyncio").body == b"not imported"
    assert server.ask(PATH_INFO="/loop").body == server.event_loop.encode()
    assert server.ask(PATH_INFO="/asyncio").body == b"imported"


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--max-requests", "1000")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_first_signal_drains_and_second_forces(start, options, number, tmp_path):
    server = start(*options)
    with begin(server, "/until", "until waits", QUERY_STRING=str(tmp_path / "go")) as sock:
        server.process.send_signal(number)
        (tmp_path / "go").touch()
        assert read_answer(sock).body == b"it exists"
    assert ended(server)
    server = start(*options)
    with begin(server, "/wait", "coroutine waits") as sock, begin(server, "/events", "events waits"):
        server.process.send_signal(number)
        server.wait_for(lambda: refuses(server), "the drain", 20)
        server.process.send_signal(number)
        assert is_closed(sock)
    assert ended(server)
    assert {"coroutine ended", "events ended"} <= set(server.notes())


def refuses(server):
    """Whether the signal was taken, and a new connection is no longer answered: it drains."""
    if any(pending(pid) for pid in (server.pid, *children(server.pid))):
        return False
    try:
        with server.connect(0.2) as sock:
            sock.sendall(wire.request(1, flags=0))
            return not sock.recv(100)
    except OSError:
        return True


def test_a_signal_is_heard_where_the_application_uses_add_signal_handler(start):
    server = start()
    assert server.ask(PATH_INFO="/signals").body == b"taken"
    server.process.send_signal(signal.SIGHUP)
    server.wait_for(lambda: "SIGHUP" in server.notes(), "its handler", 20)
    server.process.send_signal(signal.SIGTERM)
    assert ended(server)


def test_second_signal_interrupts_a_coroutine_that_blocks(start):
    server = start()
    with begin(server, "/wait", "coroutine waits"), begin(server, "/block", "blocks"):
        server.process.send_signal(signal.SIGTERM)
        server.wait_for(lambda: not pending(server.pid) and is_asleep(server.pid), "the first signal to be taken")
        server.process.send_signal(signal.SIGTERM)
        assert ended(server)
    assert "coroutine ended" in server.notes()


def test_workers_drain_when_their_parent_is_killed(start, tmp_path):
    server = start("--workers", "2")
    worker = int(server.ask(PATH_INFO="/pid").body)
    with begin(server, "/until", "until waits", QUERY_STRING=str(tmp_path / "go")) as sock:
        server.process.kill()
        server.process.wait()
        time.sleep(0.1)
        (tmp_path / "go").touch()
        assert read_answer(sock).body == b"it exists"
    server.wait_for(lambda: not os.path.exists(f"/proc/{worker}/fd/0"), "the end of the workers", 20)


def test_a_worker_that_has_served_its_time_ends_when_its_coroutines_have(start, tmp_path):
    server = start("--max-requests", "2")
    first = server.ask(PATH_INFO="/pid").body
    with begin(server, "/until", "until waits", QUERY_STRING=str(tmp_path / "go")) as sock:
        (tmp_path / "go").touch()
        assert read_answer(sock).body == b"it exists"
    server.wait_for(lambda: server.ask(PATH_INFO="/pid").body != first, "a new worker", 20)


SCRIPT = """
import signal, socket, sys
from fastcore import implementation
import async_applications
signal.signal(signal.SIGINT, signal.default_int_handler)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
loop = implementation.loop.WorkerLoop(listener, async_applications.native, event_loop=sys.argv[2])
before = signal.set_wakeup_fd(-1)
try:
    loop.run()
except KeyboardInterrupt:
    after = signal.set_wakeup_fd(-1)
    raise SystemExit(0 if before == after == -1 and loop.connections == 0 else 4)
raise SystemExit(3)
"""


@pytest.mark.parametrize("event_loop", ["asyncio", "uvloop"])
def test_keyboard_interrupt_comes_out_of_run_and_cancels(tmp_path, twin_environment, event_loop):
    notes, path = tmp_path / "notes", tmp_path / "s"
    environment = {**twin_environment, "FILE": str(notes), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, path, event_loop], env=environment)
    try:
        server = Server(tmp_path, environment)
        server.process, server.log_path = process, os.devnull
        server.wait_for(path.exists, "its socket", 20)
        server.notes = lambda: notes.read_text().splitlines() if notes.exists() else []
        server.log_path = notes
        with begin(server, "/wait", "coroutine waits") as sock, begin(server, "/events", "events waits"):
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
            assert is_closed(sock)
        assert {"coroutine ended", "events ended"} <= set(server.notes())
    finally:
        process.kill()
        process.wait()


def switches(server):
    with open(f"/proc/{server.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))


def rests(server):
    before = switches(server)
    time.sleep(1)
    return switches(server) == before


def test_200_idle_streams_are_not_looked_at_and_all_end_at_once(start):
    server = start("--limit", "linger_timeout=60")
    server.settle()
    assert server.ask(PATH_INFO="/loop").body
    descriptors = server.descriptors()
    socks = []
    for _ in range(200):
        socks.append(server.connect(20))
        socks[-1].sendall(wire.request(1, PATH_INFO="/events"))
    for sock in socks:
        sock.recv(1000)
    server.wait_for(lambda: server.notes().count("events waits") == 200, "200 streams", 20)
    server.wait_for(lambda: rests(server), "a second in which it does nothing", 60)
    assert server.ask(PATH_INFO="/").body == b"plain"
    for sock in socks:
        sock.close()
    server.wait_for(lambda: server.notes().count("events ended") == 200, "their end", 20)
    server.wait_for(lambda: server.descriptors() <= descriptors, "the descriptors", 20)


def test_event_loop_that_is_not_installed_is_an_error_at_once(monkeypatch):
    from fastcore import serve

    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install uvloop"):
        serve(lambda request: b"", "unix:/nowhere/s", interface="native", event_loop="uvloop")
    with pytest.raises(ValueError, match="one of auto, asyncio, uvloop"):
        serve(lambda request: b"", "unix:/nowhere/s", interface="native", event_loop="trio")
