"""From a route and parameters to the path: a template made from the pattern's own parse tree.

Which text a pattern stands for is decided by *which* parameters are given, never by their values, so each
combination of route and parameter names has one template, made once. The rules:

* a named group is its parameter's text; a group that is not named is its content;
* an optional part is written when a parameter within it is given, else left out; a repeat that holds no parameter is
  written as few times as it allows;
* of alternatives the one that uses the most given parameters is written; two different texts are a tie, and an error;
* a class of more than one character outside a named group is an error; `[.]` is a dot;
* anchors and look-around write nothing: the finished path is checked against the pattern anyway.

No dispatch happens here: the caller checks who takes the path.
"""

from __future__ import annotations

import enum
import re
import string
from collections.abc import Iterable, Mapping
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]
from typing import Any

from fastcore.routing.errors import AmbiguousPatternError, ParameterError, escape_controls
from fastcore.routing.patterns import Route, compile_part
from fastcore.routing.places import find_group as find_group_text
from fastcore.routing.shorthand import CONVERTERS
from fastcore.routing.tree import REPEATS, SubPattern, combine_flags, walk

MAX_REPEATED_PARTS = 1000

MAX_PLAIN = 8

_NEVER_REFUSE = tuple(converter for kind, converter in CONVERTERS.items() if kind != "date")

SAFE_IN_PATH = "/:@!$&'()*+,;=~-._" + string.ascii_letters + string.digits
"""What stands in a path as it is (RFC 3986 §3.3: pchar and the slash); all else is percent-encoded."""


class Parameter(str):
    """The place of a parameter in a template; its text is the parameter's name."""

    __slots__ = ()


Template = tuple[str, ...]


class _Missing(Exception):
    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)


class _Unclear(Exception):
    pass


def make_template(route: Route, given: frozenset[str]) -> Template:
    """What the route's path is made of, when exactly these parameters are given: text and `Parameter`s.

    Raises ParameterError (missing, surplus) and AmbiguousPatternError. Example: for `^/a/(?P<id>\\d+)/$` and {"id"}
    it is ``("/a/", Parameter("id"), "/")``.
    """
    surplus = given - route.groups.keys()
    if surplus:
        raise ParameterError(_tell_surplus(route, surplus))
    try:
        parts = tuple(_Writer(route, given).write(route.tree))
    except _Missing as error:
        raise ParameterError(f"missing {_quote_names(error.names)}") from None
    except _Unclear as error:
        raise AmbiguousPatternError(str(error)) from None
    unused = given - {part for part in parts if isinstance(part, Parameter)} - _names_within(route, parts)
    if unused:
        raise ParameterError(f"surplus {_quote_names(unused)}: not possible together with the other parameters")
    return _join_texts(parts)


def _names_within(route: Route, parts: Iterable[str]) -> set[str]:
    """Parameters that lie within another one that is written; the finished path tells whether the two agree."""
    within: set[str] = set()
    for part in parts:
        if isinstance(part, Parameter):
            within |= names_in(find_group(route, str(part))[0], route)
    return within


def _tell_surplus(route: Route, surplus: Iterable[str]) -> str:
    takes = f"it takes {_quote_names(route.groups)}" if route.groups else "it takes none"
    return f"surplus {_quote_names(surplus)}: {takes}"


def _quote_names(names: Iterable[str]) -> str:
    return ", ".join(repr(str(name)) for name in sorted(names))


def _join_texts(parts: Iterable[str]) -> Template:
    joined: list[str] = []
    for part in parts:
        if joined and not isinstance(part, Parameter) and not isinstance(joined[-1], Parameter):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


class _Writer:
    """Writes parts of a parse tree for one set of given names; remembers what each group wrote, for references."""

    def __init__(self, route: Route, given: frozenset[str]) -> None:
        self.route, self.given = route, given
        self.names = {number: name for name, number in route.groups.items()}
        self.written: dict[int, list[str]] = {}

    def write(self, items: SubPattern) -> list[str]:
        parts: list[str] = []
        missing: set[str] = set()
        for operator, argument in items:
            try:
                parts += self.write_item(operator, argument)
            except _Missing as error:
                missing |= error.names
        if missing:
            raise _Missing(missing)
        return parts

    def write_item(self, operator: Any, argument: Any) -> list[str]:
        if operator is op.LITERAL:
            return [chr(argument)]
        if operator is op.SUBPATTERN:
            return self.write_group(argument[0], argument[3])
        if operator is op.ATOMIC_GROUP:
            return self.write(argument)
        if operator in REPEATS:
            return self.write_repeat(*argument)
        if operator is op.BRANCH:
            return self.write_alternative(argument[1])
        if operator is op.IN and len(argument) == 1 and argument[0][0] is op.LITERAL:
            return [chr(argument[0][1])]
        if operator is op.GROUPREF:
            return self.write_reference(argument)
        if operator is op.GROUPREF_EXISTS:
            number, then, otherwise = argument
            chosen = then if number in self.written else otherwise
            return self.write(chosen) if chosen is not None else []
        if operator in (op.AT, op.ASSERT, op.ASSERT_NOT):
            return []
        raise _Unclear("a class of characters outside a named group stands for more than one text")

    def write_group(self, number: int | None, content: SubPattern) -> list[str]:
        name = self.names.get(number) if number is not None else None
        if name is None:
            parts = self.write(content)
        elif name in self.given:
            parts = [Parameter(name)]
        elif names_in(content, self.route) & self.given:
            parts = self.write(content)
        else:
            raise _Missing({name})
        if number is not None:
            self.written[number] = parts
        return parts

    def write_repeat(self, least: int, most: Any, content: SubPattern) -> list[str]:
        count = least
        if least == 0 and names_in(content, self.route) & self.given:
            count = 1
        if count == 0:
            return []
        parts = self.write(content)
        if len(parts) * count > MAX_REPEATED_PARTS:
            raise _Unclear(f"a repeat of {count} times is too long to be written")
        return parts * count

    def write_alternative(self, alternatives: Iterable[SubPattern]) -> list[str]:
        best: list[list[str]] = []
        most = -1
        missing: set[str] = set()
        unclear: _Unclear | None = None
        before = dict(self.written)
        outcomes: list[dict[int, list[str]]] = []
        for alternative in alternatives:
            self.written = dict(before)
            try:
                parts = self.write(alternative)
            except _Missing as error:
                missing |= error.names
                continue
            except _Unclear as error:
                unclear = error
                continue
            used = len({part for part in parts if isinstance(part, Parameter)})
            if used > most:
                best, most, outcomes = [], used, []
            if used == most and parts not in best:
                best.append(parts)
                outcomes.append(self.written)
        if unclear is not None and most <= 0:
            raise unclear
        if len(best) > 1:
            raise _Unclear(f"its alternatives {_show_choice(best)} fit equally well")
        if not best:
            raise _Missing(missing)
        self.written = outcomes[0]
        return best[0]

    def write_reference(self, number: int) -> list[str]:
        if number not in self.written:
            raise _Unclear("it refers to a group that has no text here")
        return self.written[number]


def _show_choice(choices: list[list[str]]) -> str:
    shown = ["".join(f"<{part}>" if isinstance(part, Parameter) else part for part in parts) for parts in choices[:4]]
    return " and ".join(repr(text) for text in shown) + (" and others" if len(choices) > 4 else "")


def names_in(items: SubPattern, route: Route) -> set[str]:
    """The parameters whose groups lie within a part of the route's tree."""
    numbers = {argument[0] for operator, argument, _ in walk(items, 0) if operator is op.SUBPATTERN}
    return {name for name, number in route.groups.items() if number in numbers}


def find_group(route: Route, name: str) -> tuple[SubPattern, int]:
    """The content of a named group and the flags within it."""
    number = route.groups[name]
    for operator, argument, flags in walk(route.tree, route.flags):
        if operator is op.SUBPATTERN and argument[0] == number:
            return argument[3], combine_flags(flags, argument[1], argument[2])
    raise KeyError(name)


@lru_cache(maxsize=1024)
def group_pattern(route: Route, name: str) -> re.Pattern[str]:
    """The pattern that a parameter's text must match as a whole, judged without its surroundings."""
    content, flags = find_group(route, name)
    return compile_part(route, content, flags)


def group_source(route: Route, name: str) -> str:
    """The group's pattern as its author wrote it, for messages."""
    for start, end in find_group_text(route.regex, f"(?P<{name}>", route.flags):
        return escape_controls(route.regex[start:end])
    return "its group"


def to_text(route: Route, name: str, value: Any) -> str:
    """A parameter's value as text. Raises ParameterError for what has no obvious text.

    A shorthand's converter writes it; else text, numbers, UUIDs, dates are written as `str` does, an Enum by its value.
    """
    if isinstance(value, enum.Enum):
        value = value.value
    if name in route.converters and not isinstance(value, str):
        try:
            return route.converters[name].to_text(value)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"{name!r} cannot be written: {error}") from None
    if value is None or isinstance(value, (bytes, bytearray, list, tuple, dict, set)):
        raise ParameterError(f"{name!r} is a {type(value).__name__}, which has no text in a path")
    return str(value)


def check_texts(route: Route, texts: Mapping[str, str]) -> None:
    """Raises ParameterError naming the first parameter whose text does not match its group."""
    for name, text in texts.items():
        if group_pattern(route, name).fullmatch(text) is None:
            raise ParameterError(f"{name}={text!r} does not match {group_source(route, name)}")


def check_values(route: Route, texts: Mapping[str, str]) -> None:
    """Raises ParameterError naming the first text that its own converter refuses: `resolve` would not find the path."""
    for name, text in texts.items():
        if name in route.converters:
            try:
                route.converters[name].to_value(text)
            except ValueError as error:
                raise ParameterError(f"{name}={text!r} is no value: {error}") from None


def fill(template: Template, texts: Mapping[str, str]) -> str:
    """The path, not yet percent-encoded."""
    return "".join([texts[part] if isinstance(part, Parameter) else part for part in template])


def encode_path(path: str) -> str:
    """The path as it stands in a URL: UTF-8, percent-encoded. Raises ParameterError for what no URL can carry.

    Dot segments are refused, since every browser and web server resolves them away; a second slash at the start is
    encoded, since a URL that begins with `//` names another host.
    """
    if "/." in path and any(segment in (".", "..") for segment in path.split("/")):
        raise ParameterError(f"{path!r} has a dot segment, which clients resolve away")
    encoded = _quote(path) if path.strip(SAFE_IN_PATH) else path
    return "/%2F" + encoded[2:] if encoded.startswith("//") else encoded


def _quote(path: str) -> str:
    from urllib.parse import quote  # takes half a megabyte (ipaddress), and few paths need it

    try:
        return quote(path, safe=SAFE_IN_PATH)
    except UnicodeEncodeError:
        raise ParameterError(f"{path!r} holds a surrogate, which no URL can carry") from None


def make_plan(
    route: Route, template: Template
) -> tuple[int, tuple[str, ...], tuple[str, ...], tuple[int, ...], tuple[bool, ...]] | None:
    """A template as the compiled builder takes it: (index, names, texts between, slots, which take an int plainly).

    None where a parameter stands twice or within another, where its converter may refuse a text that fits its regex, or
    where the pattern's own text needs percent-encoding.
    """
    names = tuple(str(part) for part in template if isinstance(part, Parameter))
    if len(set(names)) != len(names) or len(names) > MAX_PLAIN:
        return None
    texts = [""]
    for part in template:
        if isinstance(part, Parameter):
            texts.append("")
        else:
            texts[-1] += part
    if not all(char in SAFE_IN_PATH for text in texts for char in text):
        return None
    if any(name in route.converters and route.converters[name] not in _NEVER_REFUSE for name in names):
        return None
    places = list(route.groups)
    plain = tuple(route.converters.get(name, CONVERTERS["int"]) is CONVERTERS["int"] for name in names)
    return route.index, names, tuple(texts), tuple(2 * places.index(name) for name in names), plain
