"""Record what real front ends send, as seeds of the fuzz target `connection`:

    python tests/support/record_front_ends.py

The bytes are kept as they came, but for what belongs to this machine: folder and port numbers, replaced by others of
the same length. Needs the servers that the live tests need.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading

import fuzz_corpus
from front_ends import FRONT_ENDS, Site
from http_talk import Talk, ask

from fastcore import implementation
from fastcore.events import BodyEnded, RequestRefused

LARGEST = 6000  # bytes of a stream that are kept


class Recorder(Site):
    """A front end before a server that writes down what it is sent, and answers every request the same."""

    streams: list[bytearray]

    def start_back_end(self):  # type: ignore[no-untyped-def]
        self.streams = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.streams.append(bytearray())
            threading.Thread(target=self._serve, args=(sock, self.streams[-1]), daemon=True).start()

    @staticmethod
    def _serve(sock: socket.socket, stream: bytearray) -> None:
        connection = implementation.twin("pure").connection.Connection()
        with sock:
            while data := sock.recv(65536):
                stream += data
                for event in connection.receive_data(data):
                    if isinstance(event, BodyEnded | RequestRefused):
                        number = event.request.request_id
                        connection.send_stdout(number, b"Status: 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        connection.end_request(number)
                sock.sendall(connection.data_to_send())
                if connection.closing and not connection.active_requests:
                    return


def anonymous(site: Site, stream: bytes) -> bytes:
    """Without the temporary folder and the port numbers of this run; lengths stay."""
    folder = str(site.folder).encode()
    stream = stream.replace(folder, b"/srv/app".ljust(len(folder), b"x"))
    stream = stream.replace(b"%d" % site.port, b"18080")
    return re.sub(rb"(REMOTE_PORT)[0-9]{5}", rb"\g<1>50000", stream)


def record(name: str) -> dict[str, bytes]:
    front_end = FRONT_ENDS[name]
    with Recorder(front_end, dict(os.environ), "pure") as site:
        ask(site.port, "GET", "/a%20b/c?d=e", "Cookie: f=g", "X-Header: h")
        ask(site.port, "POST", "/form", "Content-Type: text/plain", body=b"hello")
        ask(site.port, "HEAD", "/head")
        ask(site.port, "PUT", "/long", body=b"x" * 1500)
        if front_end.chunks:
            with Talk(site.port) as talk:
                talk.ask("POST", "/chunked", "Transfer-Encoding: chunked", body=[b"3\r\nabc\r\n", b"0\r\n\r\n"])
        streams = [anonymous(site, bytes(stream)) for stream in site.streams if stream]
    return {f"{name}-{number}": b"\0" + stream[:LARGEST] for number, stream in enumerate(streams)}


def main() -> None:
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # some send it
    kept = fuzz_corpus.read("connection")
    for name, front_end in FRONT_ENDS.items():
        if front_end.spawns or not shutil.which(front_end.program, path=os.environ["PATH"]):
            print(f"{name}: left out")
            continue
        found = record(name)
        print(f"{name}: {len(found)} connections")
        kept = {key: value for key, value in kept.items() if not re.fullmatch(rf"{name}-\d+", key)} | found
    fuzz_corpus.write("connection", kept)


if __name__ == "__main__":
    main()
