"""What processes of a site tell each other: notifications, orders, specs. Hostile bytes do no more than be refused."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.process import control, notify
from framework.process.spec import VERSION, SpecError, parse, spec_of
from framework.site import load

SITE = """\
[site]
name = "example"
listen = "127.0.0.1:8080"
[[host]]
name = "a.localhost"
backends = ["web"]
[[host]]
name = "b.localhost"
backends = { web = "/" }
[backend.web]
application = "web:app"
user = "web-user"
group = "web-group"
workers = 3
"""

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


# ---- notifications


def test_known_assignments_are_taken_and_others_left() -> None:
    message = b"READY=1\nSTATUS=serving 3\nNONSENSE\nOTHER=x\n=y\nWATCHDOG=1"
    assert notify.parse(message) == {"READY": "1", "STATUS": "serving 3", "WATCHDOG": "1"}


@given(st.binary(max_size=300))
def test_any_message_is_harmless(data: bytes) -> None:
    for text in notify.parse(data).values():
        assert text.isprintable() or "\t" in text or any(ord(character) > 127 for character in text)


def test_a_status_is_cut_and_made_printable() -> None:
    found = notify.parse(b"STATUS=\x1b[31m" + b"x" * 4000)["STATUS"]
    assert len(found) == notify.MAX_STATUS_CHARACTERS
    assert found.startswith("\\x1b[31mxxx")


def test_a_message_arrives_with_the_pid_that_the_kernel_attests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = notify.Receiver(str(tmp_path / "notify.sock"), os.getuid(), os.getgid())
    try:
        monkeypatch.setenv("NOTIFY_SOCKET", receiver.path)
        assert notify.send("READY=1")
        assert list(receiver.messages()) == [(os.getpid(), {"READY": "1"})]
        assert list(receiver.messages()) == []
    finally:
        receiver.close()
    assert not Path(receiver.path).exists()


def test_a_flood_of_messages_is_taken_in_portions(tmp_path: Path) -> None:
    receiver = notify.Receiver(str(tmp_path / "notify.sock"), os.getuid(), os.getgid())
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sent = 0
            try:
                while sent < 10000:
                    sender.sendto(b"READY=1", receiver.path)
                    sent += 1
            except BlockingIOError:
                pass
        assert len(list(receiver.messages())) == min(sent, notify.MESSAGES_AT_ONCE)
    finally:
        receiver.close()


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket"])
def test_a_message_to_nobody_is_no_error(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify.send("READY=1")


# ---- specs


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("site") / "site.toml"
    file.write_text(SITE)
    return spec_of(load(file), "web", allow_uids=(33, 33), urls_fd=4, privileges={"uid": 1})


def test_a_spec_survives_its_way_through_json(spec: dict[str, Any]) -> None:
    found = parse(json.dumps(spec).encode())
    assert (found.site, found.backend, found.application, found.workers) == ("example", "web", "web:app", 3)
    assert found.mounts == (("a.localhost", "/web"), ("b.localhost", ""))
    assert (found.allow_uids, found.urls_fd, found.privileges, found.development) == ((33,), 4, {"uid": 1}, False)
    assert found.max_request_size == 16 * 1024 * 1024, "the site's limit does not reach the back end"
    assert len(found.path) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": VERSION + 1}, f"has version {VERSION + 1}"),
        ({"workers": "3"}, "'workers' is '3', not of type int"),
        ({"workers": True}, "'workers' is True, not of type int"),
        ({"path": [1]}, "'path' holds 1, not of type str"),
        ({"mounts": [["a"]]}, r"'mounts' holds \['a'\], not \[host, prefix\]"),
        ({"urls_fd": "4"}, "'urls_fd' is '4'"),
        ({"application": None}, "'application' is None"),
    ],
)
def test_a_wrong_spec_names_the_key(spec: dict[str, Any], change: dict[str, Any], reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        parse(json.dumps(spec | change).encode())


@given(st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_other_bytes_are_a_spec_error(data: bytes) -> None:
    with pytest.raises(SpecError):
        parse(data)


@given(st.dictionaries(st.sampled_from(["site", "path", "workers", "mounts", "tree", "urls_fd", "privileges"]), VALUES))
def test_any_changed_value_is_taken_or_a_spec_error(change: dict[str, Any]) -> None:
    base = {
        "version": VERSION,
        "site": "s",
        "backend": "b",
        "application": "a:b",
        "path": [],
        "workers": 1,
        "mounts": [],
    }
    base |= {
        "tree": {},
        "allow_uids": [],
        "development": False,
        "state_directory": "/",
        "urls_fd": None,
        "privileges": None,
    }
    with suppress(SpecError):
        parse(json.dumps(base | change).encode())


# ---- the control socket


class Loop:
    """As much of the supervisor's loop as the control server sees, in a thread."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        import select

        self._poller = select.epoll()
        self._acts: dict[int, Callable[[], object]] = {}
        self.server = control.Server(path, answer, self._watch, self._unwatch)
        self._ending = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _watch(self, number: int, act: Callable[[], object]) -> None:
        self._poller.register(number, 1)
        self._acts[number] = act

    def _unwatch(self, number: int) -> None:
        self._poller.unregister(number)
        self._acts.pop(number)

    def _run(self) -> None:
        while not self._ending:
            for number, _ in self._poller.poll(0.02):
                if number in self._acts:
                    self._acts[number]()

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self.server.close()
        self._poller.close()


def test_an_order_and_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    loop = Loop(path, lambda request: {"ok": True, "heard": request})
    try:
        assert path.stat().st_mode & 0o777 == 0o600
        assert control.ask(path, "status") == {"ok": True, "heard": {"command": "status"}}
    finally:
        loop.close()
    assert not path.exists()
    with pytest.raises(control.ControlError, match="the site does not run"):
        control.ask(path, "status")


def test_a_refusal_is_an_error_with_its_words(tmp_path: Path) -> None:
    loop = Loop(tmp_path / "control.sock", lambda request: {"ok": False, "error": "not today"})
    try:
        with pytest.raises(control.ControlError, match="not today"):
            control.ask(tmp_path / "control.sock", "status")
    finally:
        loop.close()


def test_a_reload_that_ends_at_once_is_told_with_its_end(tmp_path: Path) -> None:
    """Both lines may come in one piece."""
    path = tmp_path / "control.sock"
    lines = [{"ok": True, "reloading": True}, {"ok": False, "error": "back end one cannot be started"}]

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as channel:
            channel.recv(4096)
            channel.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        with pytest.raises(control.ControlError, match="back end one cannot be started"):
            control.reload(path, [], 20)
        server.join()


def test_a_stop_is_answered_by_the_end(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    orders = 0
    ordered = threading.Event()

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        nonlocal orders
        orders += 1
        if orders == 2:
            ordered.set()
        return {"ok": True, "stopping": True}

    loop = Loop(path, answer)
    assert not control.stop(path, 0.05)
    ended: list[bool] = []
    waiter = threading.Thread(target=lambda: ended.append(control.stop(path, 30)))
    waiter.start()
    assert ordered.wait(30)
    loop.close()
    waiter.join()
    assert ended == [True]


def test_connections_are_limited_and_slow_ones_dropped(tmp_path: Path) -> None:
    path = tmp_path / "control.sock"
    loop = Loop(path, lambda request: {"ok": True})
    idle = [socket.socket(socket.AF_UNIX) for _ in range(control.MAX_CONNECTIONS + 3)]
    try:
        for channel in idle:
            channel.connect(str(path))
            channel.settimeout(30)
        refused = [channel for channel in idle[control.MAX_CONNECTIONS :] if channel.recv(1) == b""]
        assert len(refused) == 3
        deadline = loop.server.next_deadline()
        assert deadline is not None
        loop.server.drop_slow(deadline + control.PATIENCE)
        assert loop.server.next_deadline() is None
        assert idle[0].recv(1) == b""
    finally:
        for channel in idle:
            channel.close()
        loop.close()
