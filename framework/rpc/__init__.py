"""Remote calls: JavaScript calls Python functions as if they were its own.

``Proxy([f, g])`` is a handler for the URL table: POST is JSON-RPC 2.0, GET the ES module whose default export has the
functions as methods. ``RPCError`` is an answer meant for the caller, not a fault. ``Client`` and ``AsyncClient`` call
the same functions from Python.

Example::

    app = App([(r"/rpc$", Proxy([disks, memory]))])        # in the page: import status from "/status/rpc"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from framework.rpc.errors import RemoteError, RPCError
from framework.rpc.limits import CallLimits
from framework.rpc.options import remote
from framework.rpc.progress import Progress
from framework.rpc.proxy import Proxy
from framework.rpc.wire import register

if TYPE_CHECKING:
    from framework.rpc.aio import AsyncClient
    from framework.rpc.client import Client

__all__ = [
    "AsyncClient",
    "CallLimits",
    "Client",
    "Progress",
    "Proxy",
    "RPCError",
    "RemoteError",
    "register",
    "remote",
]


def __getattr__(name: str) -> Any:
    """The clients, which no back end needs to load."""
    if name == "Client":
        from framework.rpc.client import Client

        return Client
    if name == "AsyncClient":
        from framework.rpc.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
