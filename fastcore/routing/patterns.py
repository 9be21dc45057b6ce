"""One entry of the table, checked and parsed: what the pattern means and which parameters it has.

Python's own parser (`re._parser`) is the only reader of patterns, so there is no second dialect. A route keeps the
parse tree; its `re.Pattern` is compiled only when somebody needs it: that costs more than the rest of registration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from re import _compiler, _parser  # type: ignore[attr-defined]
from typing import Any

from fastcore.routing import places
from fastcore.routing.errors import PatternError
from fastcore.routing.shorthand import CONVERTERS, Converter, ShorthandError, Translation, translate
from fastcore.routing.tree import SubPattern

_FLAG_LETTERS = {"a": re.ASCII, "i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}
_LESS_THAN = re.compile(r"(?<!\(\?P)(?<!\(\?)((?:\\\\)*)\\?<")


class Route:
    """One route: `pattern` as written, `regex` what it means, `target` what it leads to, `name` if it has one.

    `index` is its position in the table: the route with the lowest index that matches wins. `groups` maps each
    parameter's name to its group number; `converters` has the shorthand's, by parameter name; `flags` are re's.
    """

    __slots__ = (
        "_compiled",
        "_translation",
        "_tree",
        "converters",
        "flags",
        "groups",
        "index",
        "name",
        "pattern",
        "regex",
        "target",
    )

    def __init__(
        self,
        index: int,
        pattern: str | re.Pattern[str],
        target: Any,
        name: str | None = None,
        flags: int = 0,
        converters: Mapping[str, Converter] = CONVERTERS,
    ) -> None:
        self.index, self.target, self.name = index, target, name
        self._compiled: re.Pattern[str] | None = None
        self.converters: Mapping[str, Converter] = {}
        self._translation: Translation | None = None
        if isinstance(pattern, re.Pattern):
            self.pattern, self.regex, flags = pattern.pattern, pattern.pattern, pattern.flags
            self._compiled = pattern
        elif isinstance(pattern, str):
            self.pattern = pattern
            try:
                self._translation = translation = translate(pattern, converters)
            except ShorthandError as error:
                raise PatternError(str(error), index=index, pattern=pattern, position=error.position) from None
            self.regex, self.converters = translation.regex, translation.converters
        if not isinstance(getattr(self, "regex", None), str):
            raise PatternError("a pattern is text or a compiled pattern of text", index=index, pattern=pattern)
        self._tree: SubPattern = self._parse(int(flags) & ~int(re.DEBUG))
        state = self._tree.state
        self.flags: int = state.flags
        self.groups: dict[str, int] = state.groupdict

    def _parse(self, flags: int) -> SubPattern:
        try:
            return _parser.parse(self.regex, flags)
        except re.error as error:
            raise self._refusal(error.msg, error.pos) from None
        except RecursionError:
            raise self._refusal("nested too deeply", places.place_of_deepest(self.regex, flags)) from None
        except OverflowError as error:
            raise self._refusal(str(error), places.place_of_huge_repeat(self.regex)) from None
        except ValueError as error:  # flags that exclude each other
            raise self._refusal(str(error), 0) from None

    def _refusal(self, reason: str, place: int | None) -> PatternError:
        """The error that shows this place of `regex` in the pattern as it was written."""
        return PatternError(reason, index=self.index, pattern=self.pattern, position=self._place_in_pattern(place))

    def _place_in_pattern(self, place: int | None) -> int | None:
        return self._translation.place_in_pattern(place) if self._translation is not None else place

    def place_of(self, parameter: str) -> int | None:
        """The offset in `pattern` at which this parameter is named, for messages.

        Example: ``Route(0, "^/user/(?P<id>[0-9]+)$", target).place_of("id") == 11``.
        """
        if self._translation is not None and parameter in self._translation.named:
            return self._translation.named[parameter]
        return self._place_in_pattern(places.place_of_group(self.regex, parameter, self.flags))

    @property
    def tree(self) -> SubPattern:
        """The parse tree, as `re._parser` made it; it is not to be changed."""
        return self._tree

    @property
    def compiled(self) -> re.Pattern[str]:
        """The route as a compiled pattern. Raises PatternError where Python refuses it only now (look-behind)."""
        if self._compiled is None:
            try:
                self._compiled = re.compile(self.regex, self.flags)
            except re.error as error:
                raise self._refusal(error.msg, places.place_of_look_behind(self.regex, self.flags)) from None
            except (OverflowError, RecursionError) as error:
                raise self._refusal(str(error), places.place_of_deepest(self.regex, self.flags)) from None
        return self._compiled

    @property
    def portable(self) -> str:
        """The pattern as text that means the same where neither its flags nor that it was compiled are known.

        Example: ``Route(0, re.compile("^/a$", re.I), target).portable == "(?i)^/a$"``.
        """
        missing = self.flags & ~int(_parser.parse(self.regex, 0).state.flags)
        letters = "".join(letter for letter, flag in _FLAG_LETTERS.items() if missing & flag)
        text = self.regex if letters and self.converters else self.pattern
        if not self.converters and not _is_regex(text):
            text = _LESS_THAN.sub(r"\1\\x3c", text)
        return f"(?{letters}){text}" if letters else text

    def convert(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """The parameters' values, by the shorthand's converters; others stay text. Raises ValueError.

        Example: for ``/user/<int:id>/``, ``route.convert({"id": "7"}) == {"id": 7}``.
        """
        converters = self.converters
        return {n: converters[n].to_value(text) if n in converters else text for n, text in parameters.items()}

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name is not None else ""
        return f"<route {self.index}: {self.pattern!r} -> {describe_target(self.target)}{name}>"


def read_table(
    table: Iterable[Any], flags: int = 0, converters: Mapping[str, Converter] = CONVERTERS
) -> tuple[Route, ...]:
    """The routes of a table of `(pattern, target)` and `(pattern, target, name)`. Raises PatternError."""
    routes: list[Route] = []
    names: dict[str, int] = {}
    for index, entry in enumerate(table):
        if not isinstance(entry, (tuple, list)) or len(entry) not in (2, 3):
            raise PatternError("an entry is (pattern, target) or (pattern, target, name)", index=index, pattern=entry)
        pattern, target = entry[0], entry[1]
        name = entry[2] if len(entry) == 3 else None
        if name is not None:
            if not isinstance(name, str):
                raise PatternError(f"a name is text, not {name!r}", index=index, pattern=pattern, name=name)
            if name in names:
                reason = f"the name {name!r} is that of route {names[name]}"
                raise PatternError(reason, index=index, pattern=pattern, name=name)
            names[name] = index
        routes.append(Route(index, pattern, target, name, flags, converters))
    return tuple(routes)


def _is_regex(pattern: str) -> bool:
    """Whether nothing in it is read as shorthand."""
    try:
        return translate(pattern).regex == pattern
    except ShorthandError:
        return False


def compile_part(route: Route, part: Iterable[Any], flags: int) -> re.Pattern[str]:
    """A part of a route's parse tree as a pattern of its own, compiled by Python's compiler."""
    items = list(part)
    state = _parser.State()
    state.flags, state.str = flags, route.regex
    state.groupdict = dict(route.groups)
    state.groupwidths = list(route.tree.state.groupwidths)
    pattern: re.Pattern[str] = _compiler.compile(_parser.SubPattern(state, items), flags)
    return pattern


def describe_target(target: Any) -> str:
    """A target's name as a person would write it: `module.function`, a string as it is."""
    name = getattr(target, "__qualname__", None)
    if not isinstance(name, str):
        return repr(target)
    module = getattr(target, "__module__", None)
    return f"{module}.{name}" if module and module != "builtins" else name
