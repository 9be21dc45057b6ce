"""The development gateway over a site, with the responders and the HTTP client of `frontend_site`."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from http.client import HTTPResponse
from pathlib import Path

from frontend_site import Answer, Echo
from ports import free_port

from framework.frontends.gateway import Gateway, Trouble
from framework.process.development import http_server, open_listener
from framework.site import Site, load


class GatewaySite:
    """The gateway, answering in a thread, for a site file made by `write(folder)`; everything in one folder."""

    def __init__(self, write: Callable[[Path], Path], *, timeout: float = 20.0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gw-"))
        run = self.folder / "run"
        self.port = free_port()
        overrides = {
            "listen": f"127.0.0.1:{self.port}",
            "run_directory": str(run),
            "state_directory": f"{self.folder}/state",
        }
        self.site: Site = load(write(self.folder), overrides=overrides)
        for directory in (run, self.site.sockets_directory):
            directory.mkdir()
        self.troubles: dict[str, Trouble] = {}
        self.reports: list[str] = []
        sockets = {name: f"unix:{self.site.socket_path(name)}" for name in self.site.backends}
        self.echo = Echo({name: self.site.socket_path(name) for name in sockets if name != "down"})
        self._arguments = (self.site, sockets, timeout)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self) -> None:
        site, sockets, timeout = self._arguments
        gateway = Gateway(site, sockets, trouble=self.troubles.get, report=self.reports.append, timeout=timeout)
        self._server = http_server(gateway)
        with open_listener(site) as listener:
            self._ready.set()
            await self._server.serve(sockets=[listener])
        await gateway.close()

    def __enter__(self) -> GatewaySite:
        self.echo.start()
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.echo.close()
        shutil.rmtree(self.folder)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def send(self, request: bytes, method: str = "GET") -> Answer:
        """Send these very bytes and read one answer."""
        with self.connect() as connection:
            connection.sendall(request)
            response = HTTPResponse(connection, method=method)
            response.begin()
            return Answer(response)

    def get(self, host: str, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> Answer:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "", ""]).encode("latin-1") + body, method)
