"""Typed getters over one table of a TOML file: each takes a key, notes what is wrong with it, and goes on.

A getter returns the checked value, or its default after it has noted a problem; so one walk finds every mistake.
`close` refuses the keys that nobody asked for. No files, no system.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from fastcore.values import dataclass, field
from framework.site.lines import Path, line_of
from framework.site.problems import Level, Problem
from framework.site.values import Refused, shown

T = TypeVar("T")

_TYPE_NAMES = {bool: "true or false", int: "a whole number", str: "text in quotes", list: "a list", dict: "a table"}


@dataclass(slots=True)
class Findings:
    """The problems of one site file, in the order found, each with its line; `overridden` keys come from elsewhere."""

    file: str
    lines: Mapping[Path, int] = field(default_factory=dict)
    overridden: frozenset[Path] = frozenset()
    problems: list[Problem] = field(default_factory=list)

    def note(self, path: Path, key: str, reason: str, hint: str = "", level: Level = "error") -> None:
        """Keep one problem; `path` says where in the file it is."""
        if path in self.overridden:
            self.problems.append(Problem("", key, reason, hint, None, level))
        else:
            self.problems.append(Problem(self.file, key, reason, hint, line_of(self.lines, path), level))

    @property
    def has_errors(self) -> bool:
        return any(problem.level == "error" for problem in self.problems)

    def in_file_order(self) -> list[Problem]:
        """All problems: by line, those without one last, each group as found."""
        return sorted(self.problems, key=lambda problem: problem.line if problem.line is not None else 1 << 30)


class Table:
    """One table: `data` as read, `path` where it is, `label` how messages call it (``host[console.localhost]``)."""

    __slots__ = ("_asked", "data", "findings", "label", "path")

    def __init__(self, findings: Findings, data: Mapping[str, Any], path: Path, label: str) -> None:
        self.findings = findings
        self.data = data
        self.path = path
        self.label = label
        self._asked: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def key(self, name: str) -> str:
        """The dotted key as messages show it."""
        return f"{self.label}.{name}" if self.label else name

    def refuse(self, name: str, reason: str, hint: str = "", level: Level = "error") -> None:
        """Note a problem of one key; of the table itself where `name` is ""."""
        path = (*self.path, name) if name else self.path
        self.findings.note(path, self.key(name) if name else self.label, reason, hint, level)

    def value(self, name: str, kinds: tuple[type, ...], default: T, check: Callable[[Any], T]) -> T:
        """The value of a key, of one of `kinds`, as `check` returns it; `default` where it is missing or wrong."""
        self._asked.append(name)
        if name not in self.data:
            return default
        value = self.data[name]
        if type(value) not in kinds:
            wanted = " or ".join(_TYPE_NAMES[kind] for kind in kinds)
            self.refuse(name, f"{shown(value)} is not {wanted}")
            return default
        try:
            return check(value)
        except Refused as refused:
            self.refuse(name, refused.reason, refused.hint)
            return default

    def text(self, name: str, default: T, check: Callable[[str], T]) -> T:
        """A text."""
        return self.value(name, (str,), default, check)

    def required(self, name: str, default: T, check: Callable[[str], T], example: str) -> T:
        """A text that has to be there; `default` only keeps the walk going."""
        if name not in self.data:
            self.refuse(name, "the key is missing", f'write {name} = "{example}"')
        return self.text(name, default, check)

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean."""
        return self.value(name, (bool,), default, bool)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""

        def check(value: int) -> int:
            if not low <= value <= high:
                raise Refused(f"{shown(value)} is out of range", f"a whole number from {low} to {high}")
            return value

        return self.value(name, (int,), default, check)

    def texts(self, name: str, check: Callable[[str], T]) -> list[T]:
        """A list of texts; every wrong one is noted, the good ones are returned."""
        self._asked.append(name)
        values = self.data.get(name, [])
        if not isinstance(values, list):
            hint = f'write ["{values}"]' if isinstance(values, str) and values.isprintable() else ""
            self.refuse(name, f"{shown(values)} is not a list", hint)
            return []
        good: list[T] = []
        for value in values:
            if not isinstance(value, str):
                self.refuse(name, f"{shown(value)} in the list is not text in quotes")
                continue
            try:
                good.append(check(value))
            except Refused as refused:
                self.refuse(name, refused.reason, refused.hint)
        return good

    def pairs(self, name: str) -> dict[str, str]:
        """A table of texts."""
        self._asked.append(name)
        values = self.data.get(name, {})
        if not isinstance(values, dict):
            self.refuse(name, f"{shown(values)} is not a table", f'write {name} = {{ NAME = "value" }}')
            return {}
        good: dict[str, str] = {}
        for key, value in values.items():
            if isinstance(value, str):
                good[key] = value
                continue
            hint = f'write {key} = "{shown(value)}"' if isinstance(value, (int, float)) else ""
            self.refuse(name, f"the value {shown(value)} of {key} is not text in quotes", hint)
        return good

    def table(self, name: str) -> Mapping[str, Any]:
        """A table of anything."""
        self._asked.append(name)
        values = self.data.get(name, {})
        if not isinstance(values, dict):
            self.refuse(name, f"{shown(values)} is not a table", f"write {name} = {{ NAME = value }}")
            return {}
        return values

    def asked(self, name: str) -> None:
        """Tell that somebody reads this key by other means."""
        self._asked.append(name)

    def close(self, optional: Iterable[str] = ()) -> None:
        """Refuse the keys that no getter asked for."""
        known = [*self._asked, *optional]
        for name in self.data:
            if name not in known:
                self.refuse(name, "unknown key", nearest(name, known))


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint with the right word that is nearest to `word`, or with all of them where none is near.

    >>> nearest("usr", ["user", "group"])
    'did you mean "user"?'
    """
    words = sorted(set(known))
    close = difflib.get_close_matches(word.lower(), words, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(words)}" if words else ""
