"""What a sans-IO connection tells its owner: plain values, one per thing that happened on the wire, in their order."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from dataclasses import dataclass

    from fastcore.pure.request import Request
else:
    from fastcore.values import dataclass


@dataclass(frozen=True, slots=True)
class RequestReceived:
    """A request's PARAMS are complete. Its body follows as BodyReceived events, up to exactly one BodyEnded.

    A filter's file follows that as DataReceived events, up to exactly one DataEnded.
    """

    request: Request


@dataclass(frozen=True, slots=True)
class BodyReceived:
    """A piece of a request's body (FCGI_STDIN), cut where the bytes happened to be cut; never empty."""

    request: Request
    data: bytes


@dataclass(frozen=True, slots=True)
class BodyEnded:
    """The body is complete: CONTENT_LENGTH bytes have come, or the end of STDIN."""

    request: Request


@dataclass(frozen=True, slots=True)
class DataReceived:
    """A piece of a filter's file (FCGI_DATA); it comes after BodyEnded and is never empty."""

    request: Request
    data: bytes


@dataclass(frozen=True, slots=True)
class DataEnded:
    """A filter's file is complete."""

    request: Request


@dataclass(frozen=True, slots=True)
class RequestRefused:
    """A limit was passed or CONTENT_LENGTH is nonsense: answer with `status` (400, 413 or 431), run no application.

    What else arrives for this request is ignored.
    """

    request: Request
    status: int


@dataclass(frozen=True, slots=True)
class RequestAborted:
    """The client gave the request up (FCGI_ABORT_REQUEST). Its END_REQUEST has already been queued."""

    request: Request


Event = RequestReceived | BodyReceived | BodyEnded | DataReceived | DataEnded | RequestRefused | RequestAborted
