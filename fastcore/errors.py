"""The exceptions of fastcore. Everything that a parser may raise is declared here; nothing else escapes one."""


class FastCGIError(Exception):
    """Base of all errors that fastcore raises on purpose."""


class ProtocolError(FastCGIError):
    """The peer sent bytes that are not FastCGI 1.0; the connection cannot be trusted any further and is closed."""


class ResponseError(FastCGIError):
    """The application answered with something that cannot be sent: a bad status, header or body.

    The message names what was wrong; the client gets a 500 page without it.
    """
