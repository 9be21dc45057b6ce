"""FastCGI without sockets, for another event loop: the connection, its events and errors (docs/sans-io.md).

In whichever implementation runs; see fastcore.pure.connection for how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcore.constants import AUTHORIZER, FILTER, RESPONDER
from fastcore.errors import ProtocolError
from fastcore.events import (
    BodyEnded,
    BodyReceived,
    DataEnded,
    DataReceived,
    Event,
    RequestAborted,
    RequestReceived,
    RequestRefused,
)
from fastcore.limits import Limits

if TYPE_CHECKING:
    from fastcore.pure.connection import ANSWERING, IDLE, PHASE_BODY, PHASE_PARAMS, Connection
    from fastcore.pure.request import Request
else:
    from fastcore import implementation

    Connection = implementation.connection.Connection
    Request = implementation.request.Request
    IDLE = implementation.connection.IDLE
    PHASE_PARAMS = implementation.connection.PHASE_PARAMS
    PHASE_BODY = implementation.connection.PHASE_BODY
    ANSWERING = implementation.connection.ANSWERING

__all__ = [
    "ANSWERING",
    "AUTHORIZER",
    "FILTER",
    "IDLE",
    "PHASE_BODY",
    "PHASE_PARAMS",
    "RESPONDER",
    "BodyEnded",
    "BodyReceived",
    "Connection",
    "DataEnded",
    "DataReceived",
    "Event",
    "Limits",
    "ProtocolError",
    "Request",
    "RequestAborted",
    "RequestReceived",
    "RequestRefused",
]
