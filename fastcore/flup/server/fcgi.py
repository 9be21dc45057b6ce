"""In place of flup.server.fcgi, the threaded server: one process, one request after the other, or `maxChildren` so."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fastcore.constants import RESPONDER
from fastcore.flup.server.fcgi_base import BaseFCGIServer

__all__ = ["WSGIServer"]


class WSGIServer(BaseFCGIServer):
    """A FastCGI server for a WSGI application, with the parameters of flup's threaded server and those of the others.

    Args:
        application: the WSGI application.
        environ: a mapping whose items are put into each request's environment.
        multithreaded: False says what is so here.
        multiprocess: what the application is told in `wsgi.multiprocess`.
        bindAddress: None for the listener at descriptor 0, or plain CGI where this process was started as one; a path
            for a unix socket; (host, port) for TCP.
        umask: a unix socket's mode is 0o777 without these bits; None for the process's umask.
        multiplexed: several requests at once on one connection; always possible.
        debug: answer an exception with its traceback.
        roles: the roles to serve, of FCGI_RESPONDER, FCGI_AUTHORIZER, FCGI_FILTER; others get FCGI_UNKNOWN_ROLE.
        forceCGI: answer one request as plain CGI. So does FCGI_FORCE_CGI=Y in the environment.
        options: see BaseFCGIServer.

    Example::

        if __name__ == "__main__":
            while WSGIServer(application, bindAddress="/run/app.sock", umask=0o117).run():
                os.execv(sys.executable, [sys.executable, *sys.argv])
    """

    def __init__(
        self,
        application: Any,
        environ: Mapping[str, Any] | None = None,
        multithreaded: bool | None = None,
        multiprocess: bool = False,
        bindAddress: Any = None,
        umask: int | None = None,
        multiplexed: bool = False,
        debug: bool = False,
        roles: Collection[int] = (RESPONDER,),
        forceCGI: bool = False,
        **options: Any,
    ) -> None:
        if multithreaded:
            options["multithreaded"] = multithreaded
        super().__init__(
            application,
            environ=environ,
            multiprocess=multiprocess,
            bindAddress=bindAddress,
            umask=umask,
            multiplexed=multiplexed,
            debug=debug,
            roles=roles,
            forceCGI=forceCGI,
            **options,
        )
