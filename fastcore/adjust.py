"""A WSGI application as its front end should have called it: the path set right, its errors where somebody reads them.

Both wrap an application and are used by `fastcore.serve()` where its options ask for them; without them nothing of this
is imported. No requests and no sockets here: only the environment of PEP 3333.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

__all__ = ["AtPath", "ErrorsToLog", "check_script_name", "split_path"]


def check_script_name(script_name: str) -> str:
    """The path as it is, where an application can be mounted there. Raises ValueError.

    >>> check_script_name("/shop")
    '/shop'
    """
    if script_name and (not script_name.startswith("/") or script_name.endswith("/") or not script_name.isprintable()):
        raise ValueError(f'script_name is "" or a path like "/shop", without a slash at its end, not {script_name!r}')
    return script_name


def split_path(environ: dict[str, Any], script_name: str) -> tuple[str, str] | None:
    """SCRIPT_NAME and PATH_INFO of a request to an application that is mounted at `script_name`; None outside of it.

    SCRIPT_NAME and PATH_INFO together are the whole decoded path, however a front end has divided it; a few say all of
    it twice, once in each, which the original address shows. The prefix ends at a segment: "/shop" does not take
    "/shopping".

    >>> split_path({"SCRIPT_NAME": "/shop/7", "PATH_INFO": ""}, "/shop")
    ('/shop', '/7')
    """
    script, path = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    whole = path if script == path and script and _original(environ) == path else script + path
    prefix = script_name.encode().decode("latin-1")
    if whole != prefix and not whole.startswith(prefix + "/"):
        return None
    return prefix, whole[len(prefix) :]


def _original(environ: dict[str, Any]) -> str:
    """The path of the address that the client asked for, decoded once; "" where the front end does not tell it."""
    address = environ.get("REQUEST_URI", "").partition("?")[0]
    if "%" not in address:
        return str(address)
    from urllib.parse import unquote_to_bytes

    return unquote_to_bytes(address.encode("latin-1")).decode("latin-1")


class AtPath:
    """An application that is mounted at `script_name`, whatever its front end makes of SCRIPT_NAME and PATH_INFO.

    A request for a path outside of it is answered with 404: it was not meant for this application.
    """

    def __init__(self, application: Application, script_name: str) -> None:
        self.application = application
        self.script_name = check_script_name(script_name)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        found = split_path(environ, self.script_name)
        if found is None:
            text = b"404 Not Found\n"
            length = str(len(text))
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", length)])
            return [text]
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = found
        return self.application(environ, start_response)


class ErrorsToLog:
    """An application whose `wsgi.errors` is the server's own log: some front ends cut, drop or mangle FCGI_STDERR."""

    def __init__(self, application: Application, log: Callable[[str], None]) -> None:
        self.application = application
        self.errors = _LogStream(log)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.errors"] = self.errors
        return self.application(environ, start_response)


class _LogStream:
    """`wsgi.errors`: each line that is written is a line of the log."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        for line in text.splitlines():
            if line:
                self._log(line)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass
