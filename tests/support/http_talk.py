"""A plain HTTP/1.1 client for tests that sends and reads at the same time, and tells how an answer ended."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable
from http.client import HTTPException, HTTPResponse, IncompleteRead


class Answer:
    """One HTTP answer read to its end; `whole` says whether it came to the end that it declared."""

    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.whole = True
        try:
            self.body = response.read()
        except IncompleteRead as error:
            self.body, self.whole = error.partial, False
        except (ConnectionResetError, HTTPException):
            self.body, self.whole = b"", False


def head(method: str, target: str, *headers: str) -> bytes:
    """The head of a request, latin-1."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode("latin-1")


class Talk:
    """One connection to a port of this machine."""

    def __init__(self, port: int, timeout: float = 30.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a body waits for the ACK of its head
        self._responses: list[HTTPResponse] = []

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        for response in self._responses:  # each holds the socket open
            response.close()
        self.sock.close()

    def begin(self, method: str, target: str, *headers: str) -> HTTPResponse:
        """Send a request without a body; the answer, its head read."""
        self.sock.sendall(head(method, target, *headers))
        return self.response(method)

    def response(self, method: str = "GET") -> HTTPResponse:
        response = HTTPResponse(self.sock, method=method)
        self._responses.append(response)
        response.begin()
        return response

    def ask(self, method: str, target: str, *headers: str, body: Iterable[bytes] | bytes = b"") -> Answer:
        """One request and its answer. The body is sent beside the reading; what cuts it off is no error here.

        Where the answer is there and nobody takes the rest of the body, the connection is given up.
        """
        pieces = [body] if isinstance(body, bytes) else body
        sender = threading.Thread(target=self._send, args=(head(method, target, *headers), pieces))
        sender.start()
        try:
            return Answer(self.response(method))
        finally:
            sender.join(0.5)
            if sender.is_alive():
                self.sock.shutdown(socket.SHUT_RDWR)
                sender.join()

    def _send(self, start: bytes, pieces: Iterable[bytes]) -> None:
        with contextlib.suppress(OSError):
            self.sock.sendall(start)
            for piece in pieces:
                self.sock.sendall(piece)


def ask(port: int, method: str, target: str, *headers: str, body: bytes = b"") -> Answer:
    """One request on a connection of its own; with a body there is a Content-Length."""
    length = [f"Content-Length: {len(body)}"] if body or method in ("POST", "PUT", "PATCH") else []
    with Talk(port) as talk:
        return talk.ask(method, target, "Connection: close", *length, *headers, body=body)
