"""What flup's FastCGI servers share: how they were started, where they listen, and one run of the server."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from fastcore.addresses import WEB_SERVER_ADDRESSES, TcpAddress, UnixAddress
from fastcore.constants import AUTHORIZER as FCGI_AUTHORIZER
from fastcore.constants import FILTER as FCGI_FILTER
from fastcore.constants import RESPONDER as FCGI_RESPONDER
from fastcore.flup.gateway import Gateway, TimeoutException, format_failure
from fastcore.flup.options import (
    MEANINGLESS,
    allowed_hosts,
    count_workers,
    is_loopback,
    listen_address,
    positive,
    socket_mode,
    tell,
)
from fastcore.limits import DEFAULT_LIMITS, Limits
from fastcore.listeners import ListenerError
from fastcore.workers import END_SIGNALS

if TYPE_CHECKING:
    from fastcore.server import Role

__all__ = ["FCGI_AUTHORIZER", "FCGI_FILTER", "FCGI_RESPONDER", "BaseFCGIServer", "TimeoutException"]

FCGI_LISTENSOCK_FILENO = 0

OPTIONS = ("maxChildren", "maxSpare", "maxRequests", "timeout", "allowedServers", "allow_uids", "limits")

_SIGNALS = (*END_SIGNALS, signal.SIGQUIT, signal.SIGHUP)
_ROLES: dict[int, Role] = {FCGI_RESPONDER: "responder", FCGI_AUTHORIZER: "authorizer", FCGI_FILTER: "filter"}
_NOT_CALLED = {
    "handler": "give the wrapped application instead",
    "_isClientAllowed": "give allowedServers or allow_uids instead",
    "_mainloopPeriodic": "send SIGHUP to the process instead",
    "_setupSocket": "give bindAddress instead",
}


class BaseFCGIServer:
    """The base of the three servers. Beside what their constructors name, `options` may be:

    maxChildren: the number of worker processes.
    maxSpare: the same in the fork server, where maxChildren is not given.
    maxRequests: a worker is replaced when it has answered about so many, at most; 0 for never.
    timeout: seconds that the application may run for one request.
    allowedServers: the addresses that may connect over TCP, instead of FCGI_WEB_SERVER_ADDRS; without either, this
        machine only.
    allow_uids: user ids that may connect to a unix socket.
    limits: a fastcore.Limits.

    Raises TypeError for an option that flup has not either, and for a subclass that overrides a method which would not
    be called here; ValueError for a wrong value. Other options of flup's warn once (FlupOptionWarning).
    """

    _forks = False

    def __init__(
        self,
        application: Any,
        environ: Mapping[str, Any] | None = None,
        multiprocess: bool = False,
        bindAddress: Any = None,
        umask: int | None = None,
        multiplexed: bool = False,
        debug: bool = False,
        roles: Collection[int] = (FCGI_RESPONDER,),
        forceCGI: bool = False,
        timeout: Any = None,
        allowedServers: Collection[str] | str | None = None,
        allow_uids: Collection[int] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        **options: Any,
    ) -> None:
        self._refuse_overrides()
        self.application = application
        self.environ = {} if environ is None else environ
        self.multithreaded = False
        self.debug = debug
        self.roles = roles
        self.forceCGI = forceCGI
        self._address = listen_address(bindAddress)
        self._umask = umask
        self._limits = limits
        self._allowed_servers = allowedServers
        self._allow_uids = allow_uids
        self._check_roles()
        self._timeout = timeout or 0
        if not isinstance(self._timeout, (int, float)) or self._timeout < 0:
            raise ValueError(f"timeout is a number of seconds, 0 or more, not {timeout!r}")
        self._workers = count_workers(options, forks=self._forks)
        self._max_requests = positive("maxRequests", options.pop("maxRequests", 0), least=0)
        self.multiprocess = multiprocess or self._workers > 1
        for name in options:
            if name in MEANINGLESS:
                tell(name, MEANINGLESS[name])
            elif name not in OPTIONS:
                raise TypeError(f"{type(self).__name__} has no option {name!r}")
        for name in ("maxwrite", "inputStreamShrinkThreshold", "request_class", "cgirequest_class"):
            if hasattr(type(self), name):
                tell(name, MEANINGLESS[name])

    def _refuse_overrides(self) -> None:
        for name, instead in _NOT_CALLED.items():
            if hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__}.{name}() would never be called by fastcore: {instead}")

    def _check_roles(self) -> None:
        unknown = set(self.roles) - set(_ROLES)
        if unknown or not self.roles:
            raise ValueError(f"roles: {self.roles!r} are not some of FCGI_RESPONDER, FCGI_AUTHORIZER, FCGI_FILTER")

    @property
    def answers_errors(self) -> bool:
        """Whether error() is asked for a page when the application has failed."""
        return self.debug or type(self).error is not BaseFCGIServer.error

    def error(self, req: Any) -> None:
        """Write the answer to a request whose application raised, as CGI output to `req.stdout`. May be overridden.

        Called with the exception at hand (sys.exc_info()), if `debug` is set or a subclass has its own. Otherwise the
        client gets a 500 page that names no inner thing.
        """
        import html

        text = html.escape(format_failure())
        page = f"<!DOCTYPE html>\n<title>500 Internal Server Error</title>\n<pre>{text}</pre>\n"
        req.stdout.write(b"Status: 500 Internal Server Error\r\nContent-Type: text/html; charset=utf-8\r\n\r\n")
        req.stdout.write(page.encode("utf-8", "backslashreplace"))

    def run(self) -> bool:
        """Serve until a signal; True if it was SIGHUP, which asks the caller to start itself anew.

        SIGTERM, SIGINT, SIGQUIT and SIGUSR1 end it: running requests are answered first, a second signal forces.
        Where this process was started as plain CGI, its one request is answered and SystemExit raised, as by flup.
        Raises ListenerError where it cannot listen, AddressError for a list of addresses that is none.
        """
        hosts = allowed_hosts(self._allowed_servers)
        if isinstance(self._address, TcpAddress) and hosts is None and not is_loopback(self._address.host):
            tell(
                "bindAddress",
                f"only programs on this machine may connect to {self._address}; name the web server's address in "
                f"allowedServers or the environment's {WEB_SERVER_ADDRESSES}",
            )
        is_external = self._address != listen_address(None)
        if not is_external and self._is_cgi():
            self._run_cgi()
        from fastcore.server import serve
        from fastcore.wsgi import WSGIAdapter

        gateway = Gateway(self, timeout=self._timeout, tee_errors=is_external)
        ended_by = serve(
            WSGIAdapter(gateway, multiprocess=self.multiprocess),
            str(self._address),
            interface="native",
            workers=self._workers,
            limits=self._limits,
            socket_mode=socket_mode(self._umask) if isinstance(self._address, UnixAddress) else 0o660,
            allow_uids=self._allow_uids,
            allow_hosts=hosts,
            max_requests=self._max_requests,
            end_signals=_SIGNALS,
            roles=[_ROLES[role] for role in self.roles],
        )
        return ended_by == signal.SIGHUP

    def _run_cgi(self) -> None:
        from fastcore.cgi import run_cgi

        sys.exit(run_cgi(Gateway(self, timeout=self._timeout, report_failures=False), limits=self._limits))

    def _is_cgi(self) -> bool:
        """Whether this process is to answer one request as plain CGI; asked only where no address was given.

        Nothing is guessed: descriptor 0 is a listener (FastCGI 1.0 §2.2), or the environment is CGI's, or an error.
        """
        if self.forceCGI or os.environ.get("FCGI_FORCE_CGI", "N").upper().startswith("Y"):
            return True
        if _is_unconnected_socket(FCGI_LISTENSOCK_FILENO):
            return False
        if "REQUEST_METHOD" in os.environ:  # RFC 3875 §4.1.12: always there
            return True
        raise ListenerError(
            "no bindAddress was given, descriptor 0 is no listening socket, and there is no REQUEST_METHOD in the "
            "environment: a web server started this neither as FastCGI nor as CGI; give bindAddress, or forceCGI=True"
        )


def _is_unconnected_socket(fd: int) -> bool:
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError:
        return False
    with sock:
        try:
            sock.getpeername()
        except OSError as error:
            return error.errno == errno.ENOTCONN
    return False
