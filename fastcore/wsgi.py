"""WSGI (PEP 3333) on the native interface, in whichever implementation runs. See fastcore.pure.wsgi for how."""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from fastcore.files import FileWrapper
    from fastcore.pure.wsgi import ErrorStream, WSGIAdapter, WSGIApplication
else:
    from fastcore import implementation

    ErrorStream = implementation.wsgi.ErrorStream
    FileWrapper = implementation.wsgi.FileWrapper
    WSGIAdapter = implementation.wsgi.WSGIAdapter
    WSGIApplication = object

__all__ = ["ErrorStream", "FileWrapper", "WSGIAdapter", "WSGIApplication"]
