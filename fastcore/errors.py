"""The exceptions of fastcore. Everything that a parser may raise is declared here; nothing else escapes one."""


class FastCGIError(Exception):
    """Base of all errors that fastcore raises on purpose."""


class ProtocolError(FastCGIError):
    """The peer sent bytes that are not FastCGI 1.0; the connection cannot be trusted any further and is closed."""


class ResponseError(FastCGIError):
    """The application answered with something that cannot be sent: a bad status, header or body.

    The message names what was wrong; the client gets a 500 page without it.
    """


class BodyError(FastCGIError, OSError):
    """The rest of a body that is read as it arrives will not come.

    Where the application does not catch it and has sent nothing yet, the client gets `status`.
    """

    status = 400


class BodyTimeout(BodyError, TimeoutError):
    """No byte of the body came for `limits.body_timeout` seconds."""

    status = 408


class BodyTooLong(BodyError):
    """The body, whose length was not declared, is over `limits.body`."""

    status = 413


class ClientGone(BodyError, ConnectionError):
    """The client has left, or given the request up, in the middle of its body. Nobody gets the answer."""


def body_error(status: int) -> BodyError:
    """What an application that reads its body as it comes is told instead of an error page with this status."""
    if status == 408:
        return BodyTimeout("no byte of the body came for limits.body_timeout seconds")
    if status == 413:
        return BodyTooLong("the body is longer than limits.body bytes")
    error = BodyError("there is no room for what has come of the body")
    error.status = status
    return error


def other_thread() -> RuntimeError:
    """What a read of an arriving body raises outside its worker's thread: its bytes are put where that reads."""
    return RuntimeError(
        "a body that is still arriving is read in its worker's own thread: "
        "take its pieces with 'async for chunk in request.stream()' and hand them to the other thread"
    )


class RequestTimeout(BaseException):
    """Raised in an application whose call took longer than `limits.request_timeout`; the client gets a 504 page.

    No Exception, so that `except Exception` neither swallows it nor answers in its stead.
    """

    status = 504
