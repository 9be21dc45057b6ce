"""In place of flup.server.cgi: one request as plain CGI."""

from __future__ import annotations

from typing import Any

__all__ = ["WSGIServer"]


class WSGIServer:
    """Answers the one request that this process was started for. Example: ``WSGIServer(application).run()``"""

    def __init__(self, application: Any) -> None:
        self.application = application

    def run(self) -> None:
        """Answer it, and return."""
        from fastcore.cgi import run_cgi

        run_cgi(self.application)
