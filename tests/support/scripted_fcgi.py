"""A FastCGI server whose every byte the test decides: whole records in, any bytes out. On the pure record codec."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastcore import constants as c
from fastcore import implementation

records = implementation.twin("pure").records
HEAD = b"Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n"


def stdout(data: bytes) -> bytes:
    return records.build_stream(c.STDOUT, 1, data)


def stderr(data: bytes) -> bytes:
    return records.build_stream(c.STDERR, 1, data)


def end(app_status: int = 0, protocol_status: int = 0) -> bytes:
    return records.build_record(c.STDOUT, 1) + records.build_end_request(1, app_status, protocol_status)


class Peer:
    """The server's side of one connection, for tests: whole records in, any bytes out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def record(self) -> tuple[int, bytes] | None:
        header = self.file.read(8)
        if len(header) < 8:
            return None
        kind, _, length, padding = records.parse_header(header)
        return kind, self.file.read(length + padding)[:length]

    def request(self) -> tuple[dict[bytes, bytes], bytes] | None:
        """The next request's parameters and body; None when the client has closed."""
        streams = {c.PARAMS: b"", c.STDIN: b""}
        while (record := self.record()) is not None:
            kind, content = record
            if kind in streams:
                streams[kind] += content
            if kind == c.STDIN and not content:
                return dict(records.parse_pairs(streams[c.PARAMS])), streams[c.STDIN]
        return None


class Server:
    """A listener whose connections are handled one after another, each by a thread of its own; counts them."""

    def __init__(self, listener: socket.socket, handle: Callable[[Peer], None]) -> None:
        self.listener = listener
        self.handle = handle
        self.connections = 0
        self.failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            sock.settimeout(20)
            try:
                self.handle(Peer(sock))
            except (BrokenPipeError, ConnectionResetError):
                pass
            except BaseException as error:
                self.failures.append(error)

    def stop(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()
        assert not self.failures


@contextmanager
def serving(handle: Callable[[Peer], None], *, tcp: bool = False) -> Iterator[tuple[str, Server]]:
    with tempfile.TemporaryDirectory() as directory:
        if tcp:
            listener = socket.create_server(("127.0.0.1", 0))
            address = f"127.0.0.1:{listener.getsockname()[1]}"
        else:
            path = Path(directory) / "s"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            listener.listen()
            address = f"unix:{path}"
        server = Server(listener, handle)
        try:
            yield address, server
        finally:
            server.stop()
