"""Remote calls: JavaScript calls Python functions as if they were its own.

``Proxy([f, g])`` is a handler for the URL table: POST is JSON-RPC 2.0, GET the ES module whose default export has the
functions as methods. ``RPCError`` is an answer meant for the caller, not a fault.

Example::

    app = App([(r"/rpc$", Proxy([disks, memory]))])        # in the page: import status from "/status/rpc"
"""

from __future__ import annotations

from framework.rpc.errors import RemoteError, RPCError
from framework.rpc.limits import CallLimits
from framework.rpc.options import remote
from framework.rpc.progress import Progress
from framework.rpc.proxy import Proxy
from framework.rpc.wire import register

__all__ = ["CallLimits", "Progress", "Proxy", "RPCError", "RemoteError", "register", "remote"]
