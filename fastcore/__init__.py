"""fastcore: a FastCGI server for Python whose wire protocol, worker loop and URL dispatch are compiled.

Public names, each loaded when first used:

* ``serve(app, bind, ...)``: serve a WSGI or native application.
* ``Router(table)``: the first regex that matches a path, and the way back.
* ``Connection``, ``Request``, ``Limits``: the sans-IO protocol for another event loop.
* ``accelerated``: True where the compiled modules run, False where their pure-Python twins do.
"""

from __future__ import annotations

__version__ = "0.1.0.dev0"

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from typing import Any

    from fastcore.implementation import accelerated
    from fastcore.limits import Limits
    from fastcore.pure.connection import Connection
    from fastcore.pure.request import Request
    from fastcore.routing import Router
    from fastcore.server import serve

__all__ = ["Connection", "Limits", "Request", "Router", "__version__", "accelerated", "serve"]


def __getattr__(name: str) -> Any:
    value: Any
    match name:
        case "serve":
            from fastcore.server import serve as value
        case "Router":
            from fastcore.routing import Router as value
        case "Limits":
            from fastcore.limits import Limits as value
        case "accelerated":
            from fastcore.implementation import accelerated as value
        case "Connection":
            from fastcore import implementation

            value = implementation.connection.Connection
        case "Request":
            from fastcore import implementation

            value = implementation.request.Request
        case _:
            raise AttributeError(f"module 'fastcore' has no attribute {name!r}")
    globals()[name] = value
    return value
