"""A worker loop of either twin in a thread of the test, so that its application can be written where it is tested."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

import wire
from fcgi_server import read_to_end


class LoopThread:
    """Serves `application` on a unix socket until the `with` block ends; `error` is what run() raised.

    A loop that ended by itself is no mistake here: the test looks at `error` and `alive`. With `listener` it shares
    that socket with others.
    """

    def __init__(
        self, twin: Any, application: Any, directory: Path, *, listener: socket.socket | None = None, **options: Any
    ) -> None:
        self.path = directory / f"loop{len(list(directory.iterdir()))}"
        if listener is None:
            self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.listener.bind(str(self.path))
            self.listener.listen(64)
        else:
            self.listener = listener.dup()
        self.said: list[str] = []
        options.setdefault("log", self.said.append)
        self.loop = twin.loop.WorkerLoop(self.listener, application, **options)
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:
            self.error = error

    def __enter__(self) -> LoopThread:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.stop()
        self.wake()
        self.join()
        self.listener.close()

    def wake(self) -> None:
        os.write(self.loop.wakeup_fd, b"\0")

    def join(self, seconds: float = 30.0) -> None:
        """Wait for the end of run(); fail where it does not end."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), "the loop does not end"

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def connect(self, timeout: float = 30.0) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout)
        sock.connect(str(self.path))
        return sock

    def ask(self, body: bytes = b"", **parameters: str) -> wire.Answer:
        """One request on a connection of its own."""
        with self.connect() as sock:
            sock.sendall(wire.request(1, body, flags=0, **parameters))
            return wire.answer(read_to_end(sock))
