"""The plain definition of dispatch: try each regex in the order of the table; the first that matches wins.

This is what the compiled matcher must equal, route and captures, on any table and any text. It holds no automaton.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastcore.routing.patterns import Route


class Matcher:
    """Routes in their order. `match` gives target and parameters, `find` the route's index instead of its target."""

    __slots__ = ("_attempts", "_routes")

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._attempts = [route.compiled.match for route in self._routes]

    def find(self, path: str) -> tuple[int, dict[str, str]] | None:
        """The index of the first route that matches and its parameters; groups that took no part are left out."""
        for index, attempt in enumerate(self._attempts):
            found = attempt(path)
            if found is not None:
                return index, {name: text for name, text in found.groupdict().items() if text is not None}
        return None

    def match(self, path: str) -> tuple[Any, dict[str, str]] | None:
        """As `find`, with the target: ``matcher.match("/user/7/") == (show_user, {"id": "7"})``."""
        found = self.find(path)
        return None if found is None else (self._routes[found[0]].target, found[1])
