"""The router: a table of regexes, both ways. `match` finds the route of a path, `url` the path of a route.

What always holds: `match` gives what trying `re.match` with each pattern in the order of the table gives, and it never
raises for any text. How it is found is the matcher's business (`fastcore.pure.matcher` is the plain definition).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fastcore import implementation
from fastcore.routing import reverse
from fastcore.routing.errors import (
    ParameterError,
    PatternError,
    ReverseError,
    ShadowedError,
    UnknownTargetError,
    escape_controls,
)
from fastcore.routing.patterns import Route, describe_target, read_table
from fastcore.routing.shorthand import CONVERTERS, Converter

if TYPE_CHECKING:
    from fastcore.routing.analysis import Analysis, Explanation, Overlap, Undecided, Unreachable
    from fastcore.routing.listing import SlowRoute

__all__ = ["PatternError", "Resolved", "Router"]

_CLOSENESS: dict[type, int] = {ShadowedError: 3, ParameterError: 2}
"""Of several refusals of `url` the one that came closest gives the error its type."""


class Resolved(NamedTuple):
    """What `Router.resolve` found: the route, and its parameters' values as the shorthand's converters make them."""

    route: Route
    values: dict[str, Any]


class Router:
    """A table `[(pattern, target), (pattern, target, name), …]` whose first matching pattern wins.

    Patterns are Python regexes, compiled patterns, or shorthand (`/user/<int:id>/`); `flags` are re's, for all patterns
    that are not compiled; `converters` are added to the shorthand's. A target is any object; a name is unique text.

    Raises PatternError with the position in the table, the pattern and a caret.
    Example::

        router = Router([(r"^/user/(?P<id>[0-9]+)/$", show_user, "user")])
        router.match("/user/7/") == (show_user, {"id": "7"})
        router.url("user", id=7) == "/user/7/"
    """

    def __init__(
        self,
        table: Iterable[Any] = (),
        flags: int = 0,
        *,
        converters: Mapping[str, Converter] | None = None,
        matcher: Any = None,
    ) -> None:
        known = {**CONVERTERS, **converters} if converters else CONVERTERS
        self.routes: tuple[Route, ...] = read_table(table, flags, known)
        self._matcher = (matcher or implementation.matcher).Matcher(self.routes)
        self.match: Callable[[str], tuple[Any, dict[str, str]] | None] = self._matcher.match
        """`match(path) -> (target, {parameter: text}) | None`; groups that took no part are left out."""
        self._by_target = _group_by_target(self.routes)
        self._by_name = {route.name: [route] for route in self.routes if route.name is not None}
        self._analysed: Analysis | None = None
        builder = getattr(matcher or implementation.matcher, "UrlBuilder", None)
        if builder is not None and type(self).url is Router.url:
            # PERF: bench/router.py, url(): 5 times faster than the method, which stays the definition.
            self.__dict__["url"] = builder(self._matcher, self._find_url, self._plan).url
        self._templates: dict[tuple[int, frozenset[str]], reverse.Template] = {}

    def resolve(self, path: str) -> Resolved | None:
        """As `match`, with the route and the parameters' values; a text that its converter refuses is a miss."""
        found = self._matcher.find(path)
        if found is None:
            return None
        route = self.routes[found[0]]
        try:
            return Resolved(route, route.convert(found[1]))
        except ValueError:
            return None

    def url(self, target_or_name: Any, /, **parameters: Any) -> str:
        """The percent-encoded path that leads to this target, or to the route of this name, with these parameters.

        Of several routes the first is taken that fits the parameters, whose pattern matches the result, and that wins
        the result in this table. Raises UnknownTargetError, ParameterError, AmbiguousPatternError or ShadowedError.
        """
        return self._find_url(target_or_name, parameters)

    def _find_url(self, target_or_name: Any, parameters: Mapping[str, Any]) -> str:
        refusals: list[tuple[Route, ReverseError]] = []
        for route in self.find_routes(target_or_name):
            try:
                return self._url_of(route, parameters)
            except ReverseError as error:
                refusals.append((route, error))
        raise _sum_up(target_or_name, refusals)

    def _plan(self, target_or_name: Any, names: frozenset[str]) -> tuple[Any, ...] | None:
        """For the compiled builder: the first route that these parameters fit."""
        for route in self.find_routes(target_or_name):
            try:
                return reverse.make_plan(route, reverse.make_template(route, names))
            except ReverseError:
                continue
        return None

    def find_routes(self, target_or_name: Any) -> list[Route]:
        """The routes of a name, else of a target, in the order of the table. Raises UnknownTargetError."""
        if isinstance(target_or_name, str) and target_or_name in self._by_name:
            return self._by_name[target_or_name]
        try:
            routes = self._by_target.get(target_or_name, [])
        except TypeError:
            routes = [route for route in self.routes if route.target is target_or_name]
        if not routes:
            raise UnknownTargetError(f"no route has the target or name {describe_target(target_or_name)}")
        return routes

    def _url_of(self, route: Route, parameters: Mapping[str, Any]) -> str:
        texts = {name: reverse.to_text(route, name, value) for name, value in parameters.items() if value is not None}
        key = route.index, frozenset(texts)
        template = self._templates.get(key)
        if template is None:
            template = self._templates[key] = reverse.make_template(route, key[1])
        path = reverse.fill(template, texts)
        found = self._matcher.find(path)
        if found is None or found[0] != route.index or not found[1].items() >= texts.items():
            self._refuse(route, texts, path, found)
        if route.converters:
            reverse.check_values(route, texts)
        return reverse.encode_path(path)

    def _refuse(
        self, route: Route, texts: Mapping[str, str], path: str, found: tuple[int, dict[str, str]] | None
    ) -> None:
        """Raises the error that says why `path` is not the answer for this route."""
        reverse.check_texts(route, texts)
        own = route.compiled.match(path)
        if own is None:
            raise ParameterError(f"the result {path!r} does not match the pattern")
        for name, text in texts.items():
            if own[name] != text:
                raise ParameterError(f"in the result {path!r} {name!r} would be read as {own[name]!r}, not {text!r}")
        if found is not None and found[0] != route.index:
            raise ShadowedError(f"{path!r} is taken by {self.routes[found[0]]!r}")

    def unreachable(self) -> list[Unreachable]:
        """The routes that can never win, exactly, each with those that take all its paths and an example.

        Routes of which this is not known (they have no automaton, or a huge one) are in `undecided()` instead.
        """
        from fastcore.routing.analysis import Unreachable

        return [verdict for verdict in self._analysis().verdicts() if isinstance(verdict, Unreachable)]

    def undecided(self) -> list[Undecided]:
        """The routes of which `unreachable` cannot tell, each with the reason."""
        from fastcore.routing.analysis import Undecided

        return [verdict for verdict in self._analysis().verdicts() if isinstance(verdict, Undecided)]

    def overlaps(self) -> list[Overlap]:
        """The pairs of routes that match a common path, each with an example and the route that wins it.

        Routes without an automaton are left out. Raises OverflowError for a table that is too tangled.
        """
        return self._analysis().overlaps()

    def explain(self, path: str) -> Explanation:
        """What each route makes of a path and which one wins; `print` it. For people, not for the request path."""
        from fastcore.routing.analysis import explain

        return explain(self.routes, self._matcher.find, path)

    def slow_routes(self) -> list[SlowRoute]:
        """The routes for which time linear in the path is not promised since `re` matches or captures them, and why.

        Example: ``[slow.reason for slow in router.slow_routes()] == ["it refers back to a group"]``.
        """
        from fastcore.routing.listing import find_slow

        return find_slow(self.routes)

    def source(self) -> str:
        """The table as it is compiled: the automaton's nodes and edges, and the program of each route's captures."""
        from fastcore.routing.listing import list_table

        return list_table(self.routes)

    def drawing(self) -> str:
        """The automaton as an SVG image, for small tables and for documentation."""
        from fastcore.routing.drawing import draw

        return draw(self.routes)

    def _analysis(self) -> Analysis:
        if self._analysed is None:
            from fastcore.routing.analysis import Analysis

            self._analysed = Analysis(self.routes, self._matcher.find)
        return self._analysed

    def __len__(self) -> int:
        return len(self.routes)

    def __repr__(self) -> str:
        return f"<Router of {len(self.routes)} routes>"


def _group_by_target(routes: Iterable[Route]) -> dict[Any, list[Route]]:
    grouped: dict[Any, list[Route]] = {}
    for route in routes:
        try:
            grouped.setdefault(route.target, []).append(route)
        except TypeError:
            continue  # an unhashable target is found by identity
    return grouped


def _sum_up(asked: Any, refusals: list[tuple[Route, ReverseError]]) -> ReverseError:
    """One error for all routes that were considered; its type is that of the one that came closest."""
    closest = max((error for _, error in refusals), key=lambda error: _CLOSENESS.get(type(error), 0))
    lines = [f"route {route.index} {escape_controls(route.pattern)!r}: {error}" for route, error in refusals]
    return type(closest)(f"no URL for {describe_target(asked)}: " + "; ".join(lines))
