"""In which line of a TOML file a key stands.

`tomllib` keeps no positions, so this walks the text once, knowing just enough of TOML to skip strings, comments and
nested values. What it finds is compared with what `tomllib` read: where the two disagree no line is given at all.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEYS = rf"{_KEY}(?:[ \t]*\.[ \t]*{_KEY})*"
_HEADER = re.compile(rf"[ \t]*(\[\[?)[ \t]*({_KEYS})[ \t]*\]\]?[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
_ASSIGNMENT = re.compile(rf"[ \t]*({_KEYS})[ \t]*=")
_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z)")
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*|[\[\]{}]|\n|[^\"'#\[\]{}\n]+",
    re.DOTALL,
)


def find_lines(text: str, data: Mapping[str, Any]) -> dict[Path, int]:
    """The line, from 1, of every table header and key: ``{("site",): 1, ("site", "name"): 2, ("host", 0): 4, ...}``.

    `data` is what `tomllib` made of `text`. Empty where this scan does not understand the text as `tomllib` does.
    """
    found: dict[Path, int] = {}
    table: Path = ()
    tables_seen: dict[Path, int] = {}
    offset, line = 0, 1
    while offset < len(text):
        if match := _BLANK.match(text, offset):
            if match.end() == offset:
                break
        elif match := _HEADER.match(text, offset):
            table = _table_of(_split(match[2]), match[1] == "[[", tables_seen)
            found.setdefault(table, line)
        elif match := _ASSIGNMENT.match(text, offset):
            keys = _split(match[1])
            found[table + keys] = line
            for length in range(1, len(keys)):  # "a.b = 1" makes the table a
                found.setdefault(table + keys[:length], line)
            line += text.count("\n", offset, match.end())
            end = _end_of_value(text, match.end())
            line += text.count("\n", match.end(), end)
            offset = end
            continue
        else:
            return {}
        line += text.count("\n", offset, match.end())
        offset = match.end()
    return found if all(_has(data, path) for path in found) else {}


def line_of(found: Mapping[Path, int], path: Path) -> int | None:
    """The line of `path`, or of the nearest thing around it; None for the whole file."""
    while path:
        if path in found:
            return found[path]
        path = path[:-1]
    return None


def _split(keys: str) -> Path:
    parts = re.findall(_KEY, keys)
    return tuple(_unquote(part) for part in parts)


def _unquote(part: str) -> str:
    if part[0] not in "\"'":
        return part
    try:
        value = tomllib.loads(f"key = {part}")["key"]
    except tomllib.TOMLDecodeError:
        return part
    return str(value)


def _table_of(keys: Path, is_array: bool, seen: dict[Path, int]) -> Path:
    """The path of a header with the index of each array of tables on its way."""
    path: Path = ()
    for key in keys[:-1]:
        path += (key,)
        if path in seen:
            path += (seen[path],)
    path += (keys[-1],)
    if is_array:
        seen[path] = seen.get(path, -1) + 1
        path += (seen[path],)
    return path


def _end_of_value(text: str, offset: int) -> int:
    """Where the line after the value that begins at `offset` begins."""
    depth = 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        if match is None:
            return len(text)
        offset = match.end()
        piece = match[0]
        if piece in "[{":
            depth += 1
        elif piece in "]}":
            depth -= 1
        elif piece == "\n" and depth <= 0:
            return offset
    return offset


def _has(data: Any, path: Path) -> bool:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
