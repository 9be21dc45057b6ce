"""Simple selectors: what `find` and `find_all` take.

Understood: `tag`, `*`, `#id`, `.class`, `[name]`, `[name=value]` (also `^=`, `$=`, `*=`, `~=`), these put together
(`tr.hot[data-id]`), descendants (`table td`), children (`ul > li`), and alternatives (`h1, h2`). Anything else is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framework.xhtml.nodes import Element

Test = Callable[["Element"], bool]

MAX_SELECTOR_LENGTH = 1000
"""Longest selector, in characters."""

_PART = re.compile(
    r"""(?P<tag>\*|[A-Za-z][\w-]*)
      | \#(?P<id>[\w-]+) | \.(?P<class>[\w-]+) |
      \[\s*(?P<name>[A-Za-z][\w.:-]*)\s*(?:(?P<operator>[~^$*]?=)\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<bare>[\w-]+)))?\s*\]""",
    re.VERBOSE,
)
_COMBINATOR = re.compile(r"\s*(>)\s*|\s+")


@lru_cache(maxsize=256)
def compile_selector(selector: str) -> Test:
    """A test for one element. Raises ValueError, with the place, for what is not understood."""
    if len(selector) > MAX_SELECTOR_LENGTH:
        raise ValueError(f"a selector has at most {MAX_SELECTOR_LENGTH} characters")
    tests = [_alternative(part.strip(), selector) for part in _split(selector)]
    if len(tests) == 1:
        return tests[0]
    return lambda element: any(test(element) for test in tests)


def _split(selector: str) -> list[str]:
    """At commas outside of quotes."""
    parts, quote = [""], ""
    for character in selector:
        if character == "," and not quote:
            parts.append("")
            continue
        if character in "\"'":
            quote = "" if character == quote else quote or character
        parts[-1] += character
    return parts


def _alternative(text: str, selector: str) -> Test:
    steps: list[tuple[str, Test]] = []
    place, combinator = 0, ""
    while True:
        tests: list[Test] = []
        while found := _PART.match(text, place):
            if found["tag"] and tests:
                break
            tests.append(_part(found))
            place = found.end()
        if not tests:
            raise ValueError(f"the selector {selector!r} is not understood at {text[place : place + 20]!r}")
        steps.append((combinator, _all(tests)))
        if place == len(text):
            return _chain(steps)
        step = _COMBINATOR.match(text, place)
        if step is None:
            raise ValueError(f"the selector {selector!r} is not understood at {text[place : place + 20]!r}")
        combinator, place = (">" if step[1] else " "), step.end()


def _all(tests: list[Test]) -> Test:
    return tests[0] if len(tests) == 1 else lambda element: all(test(element) for test in tests)


def _part(found: re.Match[str]) -> Test:
    if tag := found["tag"]:
        return (lambda element: True) if tag == "*" else (lambda element: element.tag == tag)
    if id := found["id"]:
        return lambda element: element.id == id
    if name := found["class"]:
        return lambda element: name in element.classes
    return _attribute_test(found["name"], found["operator"], found["double"] or found["single"] or found["bare"] or "")


def _attribute_test(name: str, operator: str | None, wanted: str) -> Test:
    from framework.xhtml.attributes import value_text

    def value(element: Element) -> str | None:
        found = element.get(name)
        if found is None or found is False:
            return None
        return "" if found is True else value_text(found)

    if operator is None:
        return lambda element: value(element) is not None
    if operator == "=":
        return lambda element: value(element) == wanted
    if operator == "~=":
        return lambda element: wanted in (value(element) or "").split()
    if operator == "^=":
        return lambda element: bool(wanted) and (value(element) or "").startswith(wanted)
    if operator == "$=":
        return lambda element: bool(wanted) and (value(element) or "").endswith(wanted)
    return lambda element: bool(wanted) and wanted in (value(element) or "")


def _chain(steps: list[tuple[str, Test]]) -> Test:
    """The last step tests the element; the ones before it look upwards."""
    combinator, last = steps[-1]
    if len(steps) == 1:
        return last
    before = _chain(steps[:-1])

    def test(element: Element) -> bool:
        if not last(element):
            return False
        around = element.parent
        while around is not None:
            if before(around):
                return True
            if combinator == ">":
                return False
            around = around.parent
        return False

    return test
