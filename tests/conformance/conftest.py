"""The conformance checklist: a server of each twin for a module's tests, and nothing left behind by any of them.

No machine-wide lock: these tests start processes on unix sockets and free ports of their own, and touch nothing else.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fcgi_server import Server
from leftovers import Snapshot, adopt_orphans


@pytest.fixture(scope="session", autouse=True)
def as_if_started_in_the_foreground() -> None:
    adopt_orphans()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # what a shell gives to `command &`
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_left_by_test(request: pytest.FixtureRequest) -> Iterator[None]:
    if "twin_environment" not in request.fixturenames:  # it starts no process
        yield
        return
    if "server" in request.fixturenames:
        request.getfixturevalue("server")  # is there before the test and stays
    before = Snapshot()
    yield
    left = before.report()
    if left:
        pytest.fail(f"this test left behind: {'; '.join(left)}", pytrace=False)


@pytest.fixture
def connection(twin: Any) -> Any:
    """The sans-IO connection."""
    return twin.connection.Connection()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, twin_environment: dict[str, str]) -> Iterator[Server]:
    """One server for all tests of a module: nothing in it is counted, ended or forbidden."""
    with Server(tmp_path_factory.mktemp("server"), twin_environment) as server:
        server.settle()
        yield server


@pytest.fixture
def start(tmp_path: Any, twin_environment: dict[str, str]) -> Iterator[Callable[..., Server]]:
    """A function that starts a server of the test's own, with these options; all are stopped afterwards."""
    servers: list[Server] = []

    def started(application: str = "native", *options: str, **settings: Any) -> Server:
        directory = tmp_path / str(len(servers))
        directory.mkdir()
        server = Server(directory, twin_environment, application, *options, **settings)
        servers.append(server)
        return server.__enter__()

    yield started
    for server in servers:
        server.__exit__()


@pytest.fixture
def listen(tmp_path: Any) -> Iterator[Callable[[int], socket.socket]]:
    """A function that opens a listener of a family, as a web server or a service manager does; closed afterwards."""
    opened: list[socket.socket] = []

    def listening(family: int) -> socket.socket:
        listener = socket.socket(family, socket.SOCK_STREAM)
        opened.append(listener)
        where: dict[int, Any] = {
            socket.AF_UNIX: str(tmp_path / "l"),
            socket.AF_INET: ("127.0.0.1", 0),
            socket.AF_INET6: ("::1", 0),
        }
        try:
            listener.bind(where[family])
        except OSError:
            pytest.skip("no IPv6 on this machine")
        listener.listen(64)
        return listener

    yield listening
    for listener in opened:
        listener.close()
