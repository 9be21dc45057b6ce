import socket
from collections.abc import Callable, Collection
from typing import Any, Literal

from fastcore.asynchronous import EventLoopName
from fastcore.compiled.scoreboard import Page
from fastcore.compiled.service import Service
from fastcore.limits import Limits

DRAIN_GRACE: float
LOOPBACK: frozenset[str]

class WorkerLoop(Service):
    def __init__(
        self,
        listener: socket.socket,
        application: Callable[[Any], Any],
        *,
        limits: Limits = ...,
        allow_uids: Collection[int] | None = None,
        allow_hosts: Collection[str] = ...,
        workers: int = 1,
        lifeline: int = -1,
        log: Callable[[str], None] = ...,
        roles: Collection[int] = ...,
        overload: Literal["protocol", "page"] = "protocol",
        spool_directory: str | None = None,
        event_loop: EventLoopName = "auto",
        stream_body: bool = False,
        scoreboard: Page | None = None,
        pulse: tuple[int, Callable[[], object]] | None = None,
    ) -> None: ...
    @property
    def wakeup_fd(self) -> int: ...
    @property
    def connections(self) -> int: ...
    def drain(self) -> None: ...
    def stop(self) -> None: ...
    def run(self) -> None: ...
    def fileno(self) -> int: ...
    def step(self, timeout: float) -> None: ...
    def is_over(self) -> bool: ...
    def wait_time(self) -> float: ...

def release_memory() -> None: ...
