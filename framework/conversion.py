"""Text of a path to the value that a parameter's annotation asks for. Plans are made once, at registration.

A converter raises ValueError for a text that is not exactly a value of its kind: what does not convert is not there
(404).
"""

from __future__ import annotations

import re
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from framework.signatures import EMPTY

if TYPE_CHECKING:
    from collections.abc import Callable

    Converter = Callable[[str], Any]

MAX_DIGITS = 4000
"""Digits of an integer in a path; Python itself refuses more than 4300."""

_NUMBER = r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,3})?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


class ConversionError(TypeError):
    """An annotation that no text of a path can be converted to."""


def converter_for(annotation: Any) -> Converter | None:
    """The converter for an annotation; None where the text is passed as it is (str, Any, no annotation).

    Knows int, float, bool, Decimal, UUID, date, datetime, time, Enum classes, Literal, unions of these and None. Raises
    ConversionError for others. Example: ``converter_for(int)("7") == 7``.
    """
    if annotation is EMPTY or annotation is Any or annotation is str or annotation is object:
        return None
    simple = _SIMPLE.get(annotation) if isinstance(annotation, type) else None
    if simple is not None:
        return simple
    origin = get_origin(annotation)
    if origin is Union or origin is UnionType:
        return _union([kind for kind in get_args(annotation) if kind is not type(None)])
    if origin is Literal:
        return _one_of({str(value): value for value in get_args(annotation)})
    if isinstance(annotation, type):
        made = _by_class(annotation)
        if made is not None:
            return made
    shown = getattr(annotation, "__qualname__", None) or repr(annotation)
    raise ConversionError(
        f"no text of a path can be converted to {shown}; it can to str, int, float, bool, Decimal, UUID, date,"
        " datetime, time, an Enum, a Literal"
    )


def to_int(text: str) -> int:
    """ASCII digits with or without a sign."""
    digits = text[1:] if text[:1] in ("+", "-") else text
    if not (digits.isdigit() and digits.isascii()) or len(digits) > MAX_DIGITS:
        raise ValueError(f"no integer: {text[:40]!r}")
    return int(text)


def to_float(text: str) -> float:
    """A decimal number, with or without an exponent; no "nan" and no "inf"."""
    if not re.fullmatch(_NUMBER, text):
        raise ValueError(f"no number: {text[:40]!r}")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"too large a number: {text[:40]!r}")
    return value


def to_bool(text: str) -> bool:
    """true, 1, yes, on; false, 0, no, off; in any case."""
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError(f"neither true nor false: {text[:40]!r}")


_SIMPLE: dict[type, Converter] = {int: to_int, float: to_float, bool: to_bool}


def _union(kinds: list[Any]) -> Converter | None:
    """The first of `kinds` that takes the text."""
    converters = [converter_for(kind) for kind in kinds]
    if len(converters) == 1:
        return converters[0]

    def to_first(text: str) -> Any:
        for converter in converters:
            if converter is None:
                return text
            try:
                return converter(text)
            except ValueError:
                continue
        raise ValueError(f"of none of the kinds: {text[:40]!r}")

    return to_first


def _one_of(values: dict[str, Any]) -> Converter:
    def to_member(text: str) -> Any:
        try:
            return values[text]
        except KeyError:
            raise ValueError(f"not one of {', '.join(values)}: {text[:40]!r}") from None

    return to_member


def _by_class(kind: type) -> Converter | None:
    from enum import Enum

    if issubclass(kind, Enum):
        by_name: dict[str, Any] = dict(kind.__members__)
        return _one_of({**by_name, **{str(member.value): member for member in kind}})
    module, name = kind.__module__, kind.__qualname__
    if (module, name) == ("uuid", "UUID"):
        return _matching(_UUID, kind)
    if module == "datetime" and name in ("date", "datetime", "time"):
        parse: Converter = kind.fromisoformat  # type: ignore[attr-defined]
        return _matching(_DATE, parse) if name == "date" else parse
    if (module, name) == ("decimal", "Decimal"):
        return _matching(_NUMBER, kind)
    return None


def _matching(pattern: str, convert: Converter) -> Converter:
    def to_value(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"not of the form: {text[:40]!r}")
        return convert(text)

    return to_value
