"""The URL table of one application: paths to handlers, handlers to paths. Regexes are `fastcore.routing`'s business.

Always holds: a table that could not work is refused when it is registered, with the entry's position, pattern and
handler, and a caret under what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastcore.routing import Router, RoutingError, UnknownTargetError
from fastcore.routing.errors import shorten, show_caret
from framework.handlers import Endpoint, HandlerError
from framework.signatures import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, Protocol

    from fastcore.routing import Route

    class Resolver(Protocol):
        """What knows the URLs of the whole site; `framework.site.tree.SiteTree` is one."""

        def url(
            self,
            reference: str | Callable[..., Any],
            params: Mapping[str, Any],
            *,
            host: str,
            scheme: str,
            backend: str,
        ) -> str:
            """The address of a handler as `Request.get_url` gives it; raises UnknownHandler."""

        def find(self, host: str, path: str) -> tuple[Any, str] | None:
            """The mount (with `.prefix` and `.backend`) that has this host and path, and the rest of the path."""


class URLTableError(TypeError):
    """A URL table with a mistake; the message says where it stands and what to write instead."""


class UnknownHandler(LookupError):
    """Nothing of the site has this handler or name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class URLTable:
    """The table ``[(pattern, handler[, name]), …]`` of an App, checked.

    `match(path)` gives (Endpoint, parameters as text) or None; `describe()` the table as plain data for other
    processes. Raises URLTableError, and `fastcore.routing.PatternError` for a bad pattern.
    """

    def __init__(self, table: Iterable[Any]) -> None:
        entries = [_check_entry(index, entry) for index, entry in enumerate(table)]
        self._endpoints: dict[Any, Endpoint] = {}
        for entry in entries:
            self._endpoints.setdefault(_key(entry[1]), Endpoint(entry[1]))
        self._router = Router([(entry[0], self._endpoints[_key(entry[1])], *entry[2:]) for entry in entries])
        self.match: Callable[[str], tuple[Endpoint, dict[str, str]] | None] = self._router.match
        self._has_files = any(hasattr(entry[1], "__has_file__") for entry in entries)
        self._plan_all(entries)

    def _plan_all(self, entries: Sequence[Sequence[Any]]) -> None:
        """Fit each handler to its patterns; raises URLTableError."""
        routes: dict[Endpoint, list[Route]] = {}
        for route in self._router.routes:
            routes.setdefault(route.target, []).append(route)
        for endpoint, own in routes.items():
            for route in own:  # one after the other, so that the error names the pattern at fault
                try:
                    endpoint.plan([{name: _own_converter(route, name) for name in route.groups}])
                except HandlerError as error:
                    raise URLTableError(
                        f"entry {route.index} of the URL table, pattern {shorten(repr(route.pattern))},"
                        f" handler {endpoint.name}: {error}{_show_parameter(route, error.parameter)}"
                    ) from None

    def path(self, reference: Any, params: Mapping[str, Any]) -> str:
        """The path, within this table, of a handler object or a route's name.

        Raises UnknownHandler where the table has no such handler, ValueError where the parameters do not fit.
        Example: ``table.path(show_user, {"id": 7}) == "/user/7/"``.
        """
        target = reference if isinstance(reference, str) else self._endpoints.get(_key(reference))
        if target is None:
            raise UnknownHandler(f"no entry of the URL table has the handler {name_of(reference)}")
        try:
            return self._router.url(target, **{name: _plain(value) for name, value in params.items()})
        except UnknownTargetError:
            known = ", ".join(sorted(route.name for route in self._router.routes if route.name)) or "none"
            raise UnknownHandler(f"no entry of the URL table has the name {reference!r}; its names: {known}") from None
        except RoutingError as error:
            raise ValueError(str(error)) from None

    def find_file(self, path: str) -> tuple[Endpoint, dict[str, str]] | None:
        """As `match`, for a path that no pattern takes: the handler one folder up, where it has a file of that name.

        A handler says so by its method ``__has_file__(name) -> bool``; it finds the name in ``request.path``.
        """
        if not self._has_files:
            return None
        folder, _, name = path.rpartition("/")
        for place in (folder, f"{folder}/"):
            found = self.match(place) if place else None
            if found is not None:
                has_file = getattr(found[0].handler, "__has_file__", None)
                if has_file is not None and has_file(name):
                    return found
        return None

    def leads_to(self, path: str, handler: Any) -> bool:
        """Whether a path, or a file's, is this handler's."""
        found = self.match(path) or self.find_file(path)
        return found is not None and found[0].handler is handler

    def describe(self) -> list[dict[str, str | None]]:
        """The table in its order: ``{"pattern", "handler", "name"}`` of each entry, as text (name may be None).

        A compiled pattern's flags stand at its beginning: ``(?i)^/note$``.
        """
        return [
            {"pattern": route.portable, "handler": route.target.name, "name": route.name}
            for route in self._router.routes
        ]

    def handlers(self) -> list[Any]:
        """The handlers of the table in its order."""
        return [route.target.handler for route in self._router.routes]

    def __len__(self) -> int:
        return len(self._router.routes)

    def __repr__(self) -> str:
        return f"<URLTable of {len(self)} entries>"


def _check_entry(index: int, entry: Any) -> Sequence[Any]:
    if not isinstance(entry, tuple | list) or len(entry) not in (2, 3):
        raise URLTableError(
            f"entry {index} of the URL table is (pattern, handler) or (pattern, handler, name), not {entry!r}"
        )
    if not callable(entry[1]):
        raise URLTableError(
            f"entry {index} of the URL table, pattern {shorten(repr(entry[0]))}: a handler is a callable or a"
            f" RequestHandler subclass, not {entry[1]!r}"
        )
    if len(entry) == 3 and entry[2] is None:
        return entry[:2]
    return entry


def _show_parameter(route: Route, parameter: str | None) -> str:
    """The pattern with a caret under this parameter, or under its end where it lacks it."""
    if parameter is None:
        return show_caret(route.pattern, 0)
    return show_caret(route.pattern, route.place_of(parameter) if parameter in route.groups else len(route.pattern))


def _key(handler: Any) -> Any:
    """What finds a handler again: itself, or its identity where it cannot be hashed."""
    try:
        hash(handler)
    except TypeError:
        return id(handler)
    return handler


def _own_converter(route: Route, name: str) -> Callable[[str], Any] | None:
    """What the pattern itself says of a parameter, as in ``/user/<int:id>/``; None where it is text."""
    converter = route.converters.get(name)
    return None if converter is None or converter.to_value is str else converter.to_value


def _plain(value: Any) -> Any:
    """What a parameter's text in a path is made of: an Enum member's value, a bool in lower case."""
    from enum import Enum

    if isinstance(value, Enum):
        value = value.value
    return str(value).lower() if isinstance(value, bool) else value
