"""A real web server over its generated configuration, unprivileged, and responders that tell what they got."""

from __future__ import annotations

import json
import os
import pwd
import selectors
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from http.client import HTTPResponse
from pathlib import Path

from ports import free_port

from framework.frontends.check import find_program
from framework.frontends.pages import pages_of
from framework.frontends.servers import SERVERS
from framework.process.privileges import caller
from framework.process.tls import Pairs, place
from framework.site import Site, load
from framework.site.certificates import make_self_signed

UNPRIVILEGED = "nobody"


class Echo(threading.Thread):
    """A FastCGI responder, independent of fastcore: answers with the parameters and the body it got, as JSON.

    The path /stream is answered in two parts; the second is held back until `release` is set.
    """

    def __init__(self, sockets: dict[str, Path]) -> None:
        super().__init__(daemon=True)
        self.release = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ, "")
        for name, path in sockets.items():
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            path.chmod(0o666)
            listener.listen(64)
            self._selector.register(listener, selectors.EVENT_READ, name)

    def run(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if not key.data:
                    return
                assert isinstance(key.fileobj, socket.socket)
                with key.fileobj.accept()[0] as connection:
                    try:
                        self._answer(connection, key.data)
                    except (OSError, EOFError):
                        continue

    def close(self) -> None:
        self.release.set()
        self._wake.send(b"x")
        self.join(30)
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()
        self._wake.close()

    def _answer(self, connection: socket.socket, name: str) -> None:
        with connection.makefile("rb") as stream:
            streams: dict[int, bytes] = {4: b"", 5: b""}  # PARAMS, STDIN
            ended = 0
            while ended < 2:
                header = stream.read(8)
                if len(header) < 8:
                    raise EOFError
                kind, length, padding = header[1], int.from_bytes(header[4:6]), header[6]
                content = stream.read(length)
                stream.read(padding)
                if kind in streams:
                    streams[kind] += content
                    ended += not length
        params = _pairs(streams[4])
        told = {"backend": name, "params": params, "body": streams[5].decode("latin-1")}
        head = b"Status: 200 OK\r\nContent-Type: application/json\r\n\r\n"
        if params.get("PATH_INFO", "").endswith("/stream"):
            connection.sendall(_record(6, head + b"first\n"))
            self.release.wait(20)
            connection.sendall(_record(6, b"second\n"))
        else:
            answer = head + json.dumps(told).encode()
            for offset in range(0, len(answer), 65535):
                connection.sendall(_record(6, answer[offset : offset + 65535]))
        connection.sendall(_record(6, b"") + _record(3, bytes(8)))


def _record(kind: int, content: bytes) -> bytes:
    return bytes((1, kind, 0, 1)) + len(content).to_bytes(2) + b"\0\0" + content


def _pairs(data: bytes) -> dict[str, str]:
    def length(offset: int) -> tuple[int, int]:
        if data[offset] < 128:
            return data[offset], offset + 1
        return int.from_bytes(data[offset : offset + 4]) & 0x7FFFFFFF, offset + 4

    pairs, offset = {}, 0
    while offset < len(data):
        name_length, offset = length(offset)
        value_length, offset = length(offset)
        name, value = (
            data[offset : offset + name_length],
            data[offset + name_length : offset + name_length + value_length],
        )
        pairs[name.decode("latin-1")] = value.decode("latin-1")
        offset += name_length + value_length
    return pairs


class Answer:
    """One HTTP answer, read to its end."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def told(self) -> dict[str, object]:
        """What the responder told."""
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def params(self) -> dict[str, str]:
        value = self.told["params"]
        assert isinstance(value, dict)
        return value


class FrontEndSite:
    """lighttpd or nginx for a site file made by `write(folder)`, which returns it; everything in one folder.

    `addresses` are further ones of this machine at which it listens; with `tls` there is a port for that too.
    """

    def __init__(
        self,
        write: Callable[[Path], Path],
        server: str = "lighttpd",
        *,
        addresses: tuple[str, ...] = (),
        tls: bool = False,
    ) -> None:
        self.server = SERVERS[server]
        self.folder = Path(tempfile.mkdtemp(prefix="fe-"))
        self.folder.chmod(0o755)
        self.port = free_port()
        self.tls_port = free_port() if tls else 0
        file = write(self.folder)
        run = self.folder / "run"
        overrides: dict[str, object] = {
            "frontend": server,
            "listen": [f"{address}:{self.port}" for address in ("127.0.0.1", *addresses)],
            "run_directory": str(run),
            "state_directory": f"{self.folder}/state",
        }
        if tls:
            overrides["listen_tls"] = f"127.0.0.1:{self.tls_port}"
        self.site: Site = load(file, overrides=overrides)
        for host in self.site.hosts:
            if host.certificate and host.key:
                make_self_signed(host.certificate, host.key, host.names)
        for directory in (run, self.site.sockets_directory, self.site.frontend_directory):
            directory.mkdir()
        self.user = UNPRIVILEGED if os.geteuid() == 0 else None
        if self.user:
            os.chown(self.site.frontend_directory, pwd.getpwnam(self.user).pw_uid, -1)
        self.configuration = self.site.frontend_configuration
        certificates = self._place()
        self.configuration.write_text(self.server.generate(self.site, certificates=certificates))
        self.log = self.folder / "log"
        self.echo = Echo({name: self.site.socket_path(name) for name in self.site.backends if name != "down"})
        self._process: subprocess.Popen[bytes] | None = None

    def _place(self) -> Pairs:
        """What the supervisor puts into the run directory for the front end."""
        self.site.pages_directory.mkdir()
        for name, content in pages_of(self.site):
            (self.site.pages_directory / name).write_bytes(content)
        rights = caller(umask=0o077)
        if self.user:
            account = pwd.getpwnam(self.user)
            rights = replace(rights, switch=True, uid=account.pw_uid, gid=account.pw_gid)
        return place(self.site, rights)

    def __enter__(self) -> FrontEndSite:
        self.echo.start()
        program = find_program(self.server.name)
        assert program
        privileges = {"user": self.user, "group": "nogroup", "extra_groups": []} if self.user else {}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self.server.command(program, self.configuration),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **privileges,
            )
        deadline = time.monotonic() + 30
        while not self._is_up():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return self

    def _is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)
        self.echo.close()
        shutil.rmtree(self.folder)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def connect(self, tls_name: str | None = None) -> socket.socket:
        """A connection; by TLS that asks for `tls_name` and trusts what the site has made, where one is given."""
        if tls_name is None:
            return socket.create_connection(("127.0.0.1", self.port), timeout=20)
        context = ssl.create_default_context()
        for host in self.site.hosts:
            if host.certificate is not None:
                context.load_verify_locations(host.certificate)
        plain = socket.create_connection(("127.0.0.1", self.tls_port), timeout=20)
        try:
            return context.wrap_socket(plain, server_hostname=tls_name)
        except OSError:
            plain.close()
            raise

    def send(self, request: bytes, method: str = "GET", tls_name: str | None = None) -> Answer:
        """Send these very bytes and read one answer."""
        with self.connect(tls_name) as connection:
            connection.sendall(request)
            response = HTTPResponse(connection, method=method)
            response.begin()
            return Answer(response)

    def get(
        self, host: str, path: str, *headers: str, method: str = "GET", body: bytes = b"", tls_name: str | None = None
    ) -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body, method, tls_name)
