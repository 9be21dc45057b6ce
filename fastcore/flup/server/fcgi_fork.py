"""In place of flup.server.fcgi_fork, the prefork server: a fixed number of processes, `maxChildren` or `maxSpare`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fastcore.constants import RESPONDER
from fastcore.flup.server.fcgi_base import BaseFCGIServer

__all__ = ["WSGIServer"]


class WSGIServer(BaseFCGIServer):
    """A FastCGI server for a WSGI application, with the parameters of flup's fork server.

    They mean what they mean in `fastcore.flup.server.fcgi.WSGIServer`; and `timeout` is the seconds that the
    application may run for one request, after which TimeoutException is raised in it.
    Example: ``WSGIServer(application, bindAddress="/run/app.sock", maxChildren=4, maxRequests=10_000).run()``
    """

    _forks = True

    def __init__(
        self,
        application: Any,
        environ: Mapping[str, Any] | None = None,
        bindAddress: Any = None,
        umask: int | None = None,
        multiplexed: bool = False,
        debug: bool = False,
        roles: Collection[int] = (RESPONDER,),
        forceCGI: bool = False,
        timeout: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            application,
            environ=environ,
            multiprocess=True,
            bindAddress=bindAddress,
            umask=umask,
            multiplexed=multiplexed,
            debug=debug,
            roles=roles,
            forceCGI=forceCGI,
            timeout=timeout,
            **{name: value for name, value in options.items() if name not in ("multithreaded", "multiprocess")},
        )
