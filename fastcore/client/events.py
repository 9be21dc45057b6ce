"""What `ClientConnection.next_event()` tells: plain values, one for each thing that came on the wire, in its order."""

from __future__ import annotations

from dataclasses import dataclass

from fastcore.client.head import Head

__all__ = [
    "BodyReceived",
    "ErrorsReceived",
    "Event",
    "HeadReceived",
    "ResponseEnded",
    "UnknownTypeReceived",
    "ValuesReceived",
]


@dataclass(frozen=True, slots=True)
class HeadReceived:
    """The head of an answer is complete."""

    request_id: int
    head: Head


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """A piece of an answer's body, cut where the server cut it; never empty, never before the head."""

    request_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ErrorsReceived:
    """A piece of what the application wrote to STDERR; never empty."""

    request_id: int
    data: bytes


@dataclass(frozen=True, slots=True)
class ResponseEnded:
    """The server is done with a request: exactly one for each. `protocol_status` other than 0: it was not taken."""

    request_id: int
    app_status: int
    protocol_status: int


@dataclass(frozen=True, slots=True)
class ValuesReceived:
    """The answer to `get_values()`."""

    values: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class UnknownTypeReceived:
    """The server does not know a type of management record that was sent to it."""

    record_type: int


Event = HeadReceived | BodyReceived | ErrorsReceived | ResponseEnded | ValuesReceived | UnknownTypeReceived
