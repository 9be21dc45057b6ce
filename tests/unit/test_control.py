"""The control socket: who gets in is asked of the kernel; a member of the control_group may look and give no order."""

from __future__ import annotations

import grp
import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from framework.process.control import MAX_GUESTS, ControlError, Server

GROUP = "adm"
NOBODY = 65534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it connects as other users")


class Loop:
    """A supervisor's loop in a thread, with nothing in it but the control socket."""

    def __init__(self, path: Path, group: str) -> None:
        self.path = path
        self.asked: list[Any] = []
        self._poller = select.epoll()
        self._acts: dict[int, Callable[[], object]] = {}
        self._ending = False
        self.big = ""
        self.server = Server(path, self._answer, self._watch, self._unwatch, group)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(request.get("command"))
        return {"ok": True, "big": self.big}

    def _watch(self, number: int, act: Callable[[], object]) -> None:
        self._poller.register(number, select.EPOLLIN)
        self._acts[number] = act

    def _unwatch(self, number: int) -> None:
        self._poller.unregister(number)
        del self._acts[number]

    def _run(self) -> None:
        while not self._ending:
            for number, _ in self._poller.poll(0.05):
                act = self._acts.get(number)
                if act is not None:
                    act()

    def close(self) -> None:
        self._ending = True
        self._thread.join()
        self.server.close()
        self._poller.close()


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)
    running = Loop(tmp_path / "control.sock", GROUP)
    yield running
    running.close()


def as_user(uid: int, gid: int, groups: list[int], action: Callable[[], str]) -> str:
    """What `action` says in a process of this user."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            try:
                text = action()
            except OSError as error:
                text = type(error).__name__
            os.write(writer, text.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        said = pipe.read()
    os.waitpid(pid, 0)
    return said


def ask(path: Path, command: str) -> str:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(20)
        channel.connect(str(path))
        channel.sendall(json.dumps({"command": command}).encode() + b"\n")
        return channel.makefile().readline()


def gid() -> int:
    return grp.getgrnam(GROUP).gr_gid


def test_the_socket_is_of_the_group_and_closed_to_all_others(loop: Loop) -> None:
    found = loop.path.stat()
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o660, 0, gid())


@pytest.mark.parametrize("way", ["primary", "supplementary"])
def test_a_member_may_look_and_order_nothing(loop: Loop, way: str) -> None:
    ids = (NOBODY, gid(), []) if way == "primary" else (NOBODY, NOBODY, [gid()])
    assert json.loads(as_user(*ids, lambda: ask(loop.path, "status")))["ok"] is True
    for order in ("stop", "reload", "", "anything"):
        assert "only root may order this" in as_user(*ids, lambda order=order: ask(loop.path, order))
    assert loop.asked == ["status"]


def test_who_is_not_in_the_group_does_not_get_in(loop: Loop) -> None:
    assert as_user(NOBODY, NOBODY, [], lambda: ask(loop.path, "status")) == "PermissionError"
    loop.path.chmod(0o666)  # whatever the mode has become, the kernel is asked who it is
    assert as_user(NOBODY, NOBODY, [], lambda: ask(loop.path, "status")) in (
        "",
        "ConnectionResetError",
        "BrokenPipeError",
    )
    assert loop.asked == []


def test_root_may_order_all(loop: Loop) -> None:
    assert json.loads(ask(loop.path, "stop"))["ok"] is True
    assert loop.asked == ["stop"]


def test_members_never_keep_root_out_nor_the_loop_waiting(loop: Loop) -> None:
    """One of them takes all the connections there are for them, asks, and reads nothing of a long answer."""
    loop.big = "x" * (4 << 20)

    def occupy() -> str:
        channels = []
        for number in range(MAX_GUESTS + 4):
            channel = socket.socket(socket.AF_UNIX)
            channel.connect(str(loop.path))
            channels.append(channel)
            if not number:
                channel.sendall(b'{"command": "status"}\n')
        as_root.wait(20)
        return "occupied"

    as_root = Gate()
    thread = threading.Thread(target=lambda: as_user(NOBODY, gid(), [], occupy))
    thread.start()
    try:
        while "status" not in loop.asked:
            pass
        loop.big = ""
        assert json.loads(ask(loop.path, "status"))["ok"] is True
    finally:
        as_root.open()
        thread.join()


class Gate:
    """Something another process waits for."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    def wait(self, seconds: float) -> None:
        select.select([self._reader], [], [], seconds)

    def open(self) -> None:
        os.write(self._writer, b"x")


def test_a_group_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="'groupadd --system zzz-none' makes it"):
        Server(tmp_path / "control.sock", lambda request: {}, lambda *_: None, lambda *_: None, "zzz-none")
