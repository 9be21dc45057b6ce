"""framework: handlers, pages and remote calls of one back end, and the processes that run several of them.

Public names, each loaded when first used:

* ``App(urls, middleware=())``: a table of (regex, handler) as a native and a WSGI application.
* ``Request``, ``Response``: what a handler is given and what it gives back.
* ``RequestHandler``: a handler as a class with ``get``, ``post``, ...
* ``HTTPError(status, text)``: the answer as an exception; ``around`` and ``methods``: decorators of one handler.
* ``safe_join(folder, path)``: a path that cannot leave its folder.
* ``Limits``: what the application accepts in bodies, forms, queries and cookies.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without importing it

if TYPE_CHECKING:
    from framework.app import App
    from framework.errors import BadRequest, HTTPError
    from framework.files import safe_join
    from framework.handlers import RequestHandler, methods
    from framework.limits import Limits
    from framework.middleware import around
    from framework.request import Request
    from framework.response import Response
    from framework.urls import UnknownHandler, URLTableError

__all__ = [
    "App",
    "BadRequest",
    "HTTPError",
    "Limits",
    "Request",
    "RequestHandler",
    "Response",
    "URLTableError",
    "UnknownHandler",
    "around",
    "methods",
    "safe_join",
]

_MODULES = {
    "App": "app",
    "BadRequest": "errors",
    "HTTPError": "errors",
    "Limits": "limits",
    "Request": "request",
    "RequestHandler": "handlers",
    "Response": "response",
    "URLTableError": "urls",
    "UnknownHandler": "urls",
    "around": "middleware",
    "methods": "handlers",
    "safe_join": "files",
}


def __getattr__(name: str) -> object:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'framework' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"framework.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
