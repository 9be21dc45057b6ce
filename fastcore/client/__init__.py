"""A FastCGI client: what a web server does, from Python.

`Client` and `AsyncClient` keep their connections and reuse them; `ClientConnection` is the protocol alone, without
sockets; `cgi_params` builds the parameters of a request as a web server would. ``python -m fastcore.client`` is curl
for FastCGI. What a hostile server may make us keep is bounded by `ClientLimits`.

>>> from fastcore.client import Client, cgi_params
>>> with Client("unix:/run/app.sock") as client:                     # doctest: +SKIP
...     response = client.request(cgi_params("GET", "/status"))
...     print(response.status, response.body)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastcore.client.aio import AsyncClient, AsyncStreamedResponse
    from fastcore.client.errors import CannotConnect, ConnectionLost, ProtocolError, TimeoutError
    from fastcore.client.head import Head, parse_head
    from fastcore.client.limits import ClientLimits
    from fastcore.client.params import cgi_params
    from fastcore.client.protocol import ClientConnection
    from fastcore.client.response import Response
    from fastcore.client.sync import Client, StreamedResponse

_HOMES = {
    "AsyncClient": "aio",
    "AsyncStreamedResponse": "aio",
    "CannotConnect": "errors",
    "Client": "sync",
    "ClientConnection": "protocol",
    "ClientLimits": "limits",
    "ConnectionLost": "errors",
    "Head": "head",
    "ProtocolError": "errors",
    "Response": "response",
    "StreamedResponse": "sync",
    "TimeoutError": "errors",
    "cgi_params": "params",
    "parse_head": "head",
}

__all__ = [
    "AsyncClient",
    "AsyncStreamedResponse",
    "CannotConnect",
    "Client",
    "ClientConnection",
    "ClientLimits",
    "ConnectionLost",
    "Head",
    "ProtocolError",
    "Response",
    "StreamedResponse",
    "TimeoutError",
    "cgi_params",
    "parse_head",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"fastcore.client.{home}"), name)
    globals()[name] = value
    return value
