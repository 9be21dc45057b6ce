"""Lines 58 and 59 of the checklist: sockets that others have opened, and who may connect."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import socket
import subprocess
import sys

import pytest
import wire
from fcgi_server import ROOT, Server, is_closed, read_answer, read_to_end

FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


@pytest.mark.parametrize("family", FAMILIES)
def test_line_58_listener_on_descriptor_0(start, listen, family):
    """lighttpd's bin-path and spawn-fcgi hand over the listener as descriptor 0."""
    server = start(listener=listen(family))
    assert server.ask(PATH_INFO="/hello").body == b"hello"
    server.process.terminate()
    assert server.process.wait(20) == 0


@pytest.mark.parametrize("kind", ["null", "datagram", "connected", "not-listening"])
def test_line_58_descriptor_that_is_no_listener_is_refused(tmp_path, twin_environment, kind):
    one, other = socket.socketpair(type=socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM)
    with one, other, open(os.devnull) as null, socket.socket(socket.AF_UNIX) as idle:
        server = Server(tmp_path, twin_environment, listener={"null": null, "not-listening": idle}.get(kind, one))
        server.start()
        assert server.process.wait(20) == 1
    assert f"descriptor 0 is no {'socket' if kind == 'null' else 'listening stream socket'}" in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("family", FAMILIES)
def test_line_58_the_socket_that_systemd_passes(start, listen, family):
    listener = listen(family)
    server = start("native", "--workers", "2", passed={"web": listener}, bind="systemd:")
    with socket.socket(family) as sock:
        sock.settimeout(20)
        sock.connect(listener.getsockname())
        sock.sendall(wire.request(PATH_INFO="/environ"))
        assert read_answer(sock).status == 200
    with open(f"/proc/{server.pid}/environ") as environ:
        assert "LISTEN_FDS=1" in environ.read()  # so it was systemd's part that was played
    server.process.terminate()
    assert server.process.wait(20) == 0
    if family == socket.AF_UNIX:
        assert os.path.exists(listener.getsockname())  # systemd's, not ours to remove


def test_line_58_one_of_several_passed_sockets_by_its_name(start, tmp_path):
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for name, listener in {"one": one, "two": two}.items():
            listener.bind(str(tmp_path / name))
            listener.listen()
        start(passed={"one": one, "two": two}, bind="systemd:two")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(tmp_path / "two"))
            sock.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(sock).body == b"hello"


@pytest.mark.parametrize(
    ("bind", "variables", "words"),
    [
        ("systemd:", {}, "start it by a socket unit of systemd"),
        ("systemd:", {"LISTEN_FDS": "1"}, "not both set"),
        ("systemd:", {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, "for process '1' (LISTEN_PID)"),
        ("systemd:a:b", {}, "without colons"),
    ],
)
def test_line_58_missing_or_foreign_sockets_of_systemd_are_named(tmp_path, twin_environment, bind, variables, words):
    server = Server(tmp_path, twin_environment, bind=bind, variables=variables)
    server.start()
    assert server.process.wait(20) == 1
    assert words in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("bind", "names", "words"),
    [
        ("systemd:", ["one", "two"], "2 sockets are passed, and one is needed; their names are one, two"),
        ("systemd:three", ["one"], "no sockets are passed under the name 'three'"),
        ("systemd:one", ["one:more"], "LISTEN_FDNAMES has 2 names for 1 sockets"),
    ],
)
def test_line_58_sockets_of_systemd_that_do_not_fit_are_named(tmp_path, twin_environment, bind, names, words):
    sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
    server = Server(tmp_path, twin_environment, bind=bind, passed=sockets)
    server.start()
    assert server.process.wait(20) == 1
    for sock in sockets.values():
        sock.close()
    assert words in server.log
    assert "Traceback" not in server.log


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
@pytest.mark.parametrize(
    ("value", "options", "allowed"),
    [
        (None, (), True),  # loopback
        ("127.0.0.1,::1", (), True),
        ("192.0.2.1, ::ffff:127.0.0.1,0:0:0:0:0:0:0:1", (), True),
        ("192.0.2.1", (), False),
        ("192.0.2.1", ("--allow-host", "127.0.0.1", "--allow-host", "::1"), True),
        ("127.0.0.1,::1", ("--allow-host", "192.0.2.1"), False),
    ],
)
def test_line_59_only_listed_web_servers_may_connect(start, listen, family, value, options, allowed):
    variables = {} if value is None else {"FCGI_WEB_SERVER_ADDRS": value}
    server = start("native", *options, listener=listen(family), variables=variables)
    with server.connect() as sock:
        if allowed:
            sock.sendall(wire.request(PATH_INFO="/hello"))
            assert read_answer(sock).body == b"hello"
        else:
            assert is_closed(sock)
            server.wait_for(lambda: "which is not allowed" in server.log, "a word about it")


@pytest.mark.parametrize("value", ["web.example", "127.0.0.1;192.0.2.1", "", "127.0.0.1,", "127.0.0.1/8"])
def test_line_59_list_of_web_servers_that_is_none_is_refused(tmp_path, twin_environment, listen, value):
    variables = {"FCGI_WEB_SERVER_ADDRS": value}
    server = Server(tmp_path, twin_environment, listener=listen(socket.AF_INET), variables=variables)
    server.start()
    assert server.process.wait(20) == 1
    assert "FCGI_WEB_SERVER_ADDRS: " in server.log
    assert "is no IP address" in server.log
    assert "Traceback" not in server.log


def test_line_59_list_of_web_servers_is_about_tcp_alone(start):
    server = start(variables={"FCGI_WEB_SERVER_ADDRS": "192.0.2.1"})
    assert server.ask(PATH_INFO="/hello").body == b"hello"


def test_line_58_the_units_of_the_documentation_start_a_server(tmp_path, twin_environment):
    """Each file of docs/socket-activation.md; systemd's part is played: the socket made, ExecStart= run with it."""
    text = (ROOT / "docs" / "socket-activation.md").read_text()
    files = dict(re.findall(r"^`(/[^`]+)`:\n\n```\w+\n(.*?)```$", text, re.MULTILINE | re.DOTALL))
    for name in files:
        path = tmp_path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[name])
    units = configparser.ConfigParser()
    units.optionxform = str
    for kind in ("socket", "service"):
        units.read_string(files[f"/etc/systemd/system/hello.{kind}"])
    path = tmp_path / units["Socket"]["ListenStream"].lstrip("/")
    path.parent.mkdir()
    python, *arguments = shlex.split(units["Service"]["ExecStart"])
    assert python.endswith("/bin/python")
    arguments = [str(tmp_path) + argument if argument.startswith("/") else argument for argument in arguments]
    activator = [sys.executable, str(ROOT / "tests" / "support" / "activator.py")]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        os.chmod(path, int(units["Socket"]["SocketMode"], 8))
        listener.listen()
        fd = listener.fileno()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(str(path))  # what makes systemd start it
            sock.sendall(wire.request(flags=0))
            process = subprocess.Popen(
                [*activator, str(fd), "hello.socket", sys.executable, *arguments],
                pass_fds=[fd],
                env={**twin_environment, "PYTHONPATH": str(ROOT)},
            )
            try:
                assert wire.answer(read_to_end(sock)).body == b"hello"
            finally:
                process.terminate()
                assert process.wait(20) == 0
