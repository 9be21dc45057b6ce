"""What a request through the client may raise, besides the caller's own mistakes (ValueError, TypeError).

Each is a `fastcore.errors.FastCGIError`, and each of the network kind also the builtin that the standard library would
raise, so that ``except OSError`` works too.
"""

from __future__ import annotations

import builtins

from fastcore import errors
from fastcore.errors import FastCGIError

__all__ = ["CannotConnect", "ConnectionLost", "ProtocolError", "TimeoutError"]


class ConnectionLost(FastCGIError, ConnectionError):
    """The server closed the connection, or the system did, before the answer was complete.

    ``errors`` holds what the application had written to STDERR by then: often the reason.
    """

    errors: bytes = b""


class ProtocolError(errors.ProtocolError):
    """The server sent what is not FastCGI, or no CGI answer, or more than `ClientLimits` allow.

    ``errors`` holds what the application had written to STDERR by then. (`ClientConnection`, the protocol without
    sockets, raises the base class, `fastcore.errors.ProtocolError`.)
    """

    errors: bytes = b""


class CannotConnect(ConnectionLost):
    """No connection could be made: nobody listens at the address, or this user may not."""


class TimeoutError(FastCGIError, builtins.TimeoutError):
    """A step took longer than it may; the message names the address, the step and its limit in seconds."""

    errors: bytes = b""
