"""The errors of remote calls, with JSON-RPC's codes (section 5.1 of its specification)."""

from __future__ import annotations

from typing import Any

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
"""What a function raised."""

MESSAGES = {
    PARSE_ERROR: "Parse error",
    INVALID_REQUEST: "Invalid Request",
    METHOD_NOT_FOUND: "Method not found",
    INVALID_PARAMS: "Invalid params",
    INTERNAL_ERROR: "Internal error",
}


class RPCError(Exception):
    """An answer for the caller: it arrives as a JavaScript error with this class's name, message, code and data.

    It is not a fault of the server, so it is not logged. Subclass it for errors that callers tell apart.

    Args:
        message: for the person or program that called.
        code: an integer of the application's own; JSON-RPC keeps -32768 to -32100 for itself.
        data: anything that JSON can carry.

    Example: ``raise RPCError("The disk is busy.", code=7)``.
    """

    def __init__(self, message: str = "", *, code: int = SERVER_ERROR, data: Any = None) -> None:
        if type(code) is not int or -32768 <= code <= -32100:
            raise ValueError(f"the code of an RPCError is an int outside -32768 to -32100, not {code!r}")
        super().__init__(message)
        self.code = code
        self.data = data


class RemoteError(Exception):
    """What a remote call failed with, as its caller sees it: `framework.rpc.Client` raises it.

    `type` is the name of the exception's class, or of what went wrong on the way (docs/rpc.md has the table); `code`
    JSON-RPC's, the application's own, or the HTTP status; `id` finds the error in the server's log; `data` is what an
    `RPCError` was given; `traceback` is there in development only.
    """

    def __init__(
        self,
        message: str = "",
        *,
        type: str = "RemoteError",
        code: int = 0,
        id: str | None = None,
        data: Any = None,
        traceback: str = "",
    ) -> None:
        super().__init__(message)
        self.type = type
        self.code = code
        self.id = id
        self.data = data
        self.traceback = traceback


class Mismatch(ValueError):
    """A value that is not of the kind that was asked for."""


class ProtocolError(Exception):
    """A call that cannot be made: what JSON-RPC itself has a code and a message for. Not for applications.

    `detail` says more than the specification's message; it is sent in development only.
    """

    def __init__(self, code: int, message: str = "", detail: str = "") -> None:
        super().__init__(message or MESSAGES[code])
        self.code = code
        self.detail = detail
