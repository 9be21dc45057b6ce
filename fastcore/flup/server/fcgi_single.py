"""In place of flup.server.fcgi_single: one process that answers one request after the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from fastcore.constants import RESPONDER
from fastcore.flup.options import MEANINGLESS, tell
from fastcore.flup.server.fcgi_base import OPTIONS, BaseFCGIServer

__all__ = ["WSGIServer"]


class WSGIServer(BaseFCGIServer):
    """A FastCGI server for a WSGI application, with the parameters of flup's single server.

    They mean what they mean in `fastcore.flup.server.fcgi.WSGIServer`. As with flup, any other option is taken, and
    ignored; here with a warning. Example: ``WSGIServer(application, bindAddress=("127.0.0.1", 9000)).run()``
    """

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
        **options: Any,
    ) -> None:
        known = {}
        for name, value in options.items():
            if name in ("maxChildren", "maxSpare", "maxRequests", "timeout"):
                tell(name, "this is the single server: see fastcore.flup.server.fcgi_fork")
            elif name in OPTIONS or name in MEANINGLESS:
                known[name] = value
            else:
                tell(name, "flup's single server ignores options that it does not know; so does this one")
        super().__init__(
            application,
            environ=environ,
            bindAddress=bindAddress,
            umask=umask,
            multiplexed=multiplexed,
            debug=debug,
            roles=roles,
            forceCGI=forceCGI,
            **known,
        )
