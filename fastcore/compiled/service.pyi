from collections.abc import Callable
from typing import Any

from fastcore.asynchronous import EventLoopName
from fastcore.compiled.channel import Channel, Waiter
from fastcore.compiled.exchange import Exchange
from fastcore.compiled.scoreboard import Page
from fastcore.limits import Limits

READ_SIZE: int
PUMP_BATCH: int
MAX_REPLY_BYTES: int
DIRECT_BYTES: int

class Service(Waiter):
    limits: Limits
    requests: int
    def __init__(
        self,
        application: Callable[[Any], Any],
        limits: Limits,
        log: Callable[[str], None],
        event_loop: EventLoopName,
        stream_body: bool,
        scoreboard: Page | None = None,
    ) -> None: ...
    def resume(self, channel: Channel, exchange: Exchange) -> None: ...
    def end_waiting(self, channel: Channel, exchange: Exchange) -> None: ...
