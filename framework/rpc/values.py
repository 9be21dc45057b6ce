"""JSON values to what a parameter's annotation asks for, and results to what JSON has. Plans are made at registration.

A plan raises Mismatch, with the reason, for a value of another kind; nothing is coerced that would lose something.
Annotations that are not known here let any value pass as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from framework.conversion import ConversionError, converter_for
from framework.signatures import EMPTY

Plan = Callable[[Any], Any]


class Mismatch(ValueError):
    """A value that is not of the kind that was asked for."""


def kind_of(value: Any) -> str:
    """JSON's word for a value: ``kind_of([]) == "an array"``."""
    return _KINDS.get(type(value), "a value")


_KINDS: dict[type, str] = {
    NoneType: "null",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


def plan_for(annotation: Any) -> Plan | None:
    """The plan for an annotation; None where any value passes.

    Knows bool, int, float, str, None, list, tuple, set, dict (with element types), unions, Literal, Enum, UUID,
    Decimal, date, datetime, time. Example: ``plan_for(list[int])([1, 2]) == [1, 2]``.
    """
    if annotation is None or annotation is NoneType:
        return _to_none
    simple = _SIMPLE.get(annotation) if isinstance(annotation, type) else None
    if simple is not None:
        return simple
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Union or origin is UnionType:
        return _union([plan_for(argument) for argument in arguments])
    if origin is Literal:
        return _literal(arguments)
    if origin in _CONTAINERS or annotation in _CONTAINERS:
        return _container(origin or annotation, arguments)
    return _from_text(annotation)


def _expect(kind: type, words: str) -> Plan:
    def check(value: Any) -> Any:
        if type(value) is not kind:
            raise Mismatch(f"{words} is needed, not {kind_of(value)}")
        return value

    return check


def _to_float(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise Mismatch(f"a number is needed, not {kind_of(value)}")
    return float(value)


def _to_int(value: Any) -> int:
    if type(value) is float and value.is_integer() and abs(value) <= 2**53:
        return int(value)  # JavaScript has one kind of number, and other clients write 2.0
    if type(value) is not int:
        raise Mismatch(f"an integer is needed, not {kind_of(value)}")
    return value


_to_none = _expect(NoneType, "null")
_SIMPLE: dict[type, Plan] = {
    bool: _expect(bool, "a boolean"),
    int: _to_int,
    float: _to_float,
    str: _expect(str, "a string"),
}


def _union(plans: Sequence[Plan | None]) -> Plan | None:
    if any(plan is None for plan in plans):
        return None

    def to_first(value: Any) -> Any:
        reasons = []
        for plan in plans:
            try:
                return plan(value)  # type: ignore[misc]
            except Mismatch as mismatch:
                reasons.append(str(mismatch))
        raise Mismatch("; or ".join(dict.fromkeys(reasons)))

    return to_first


def _literal(choices: Sequence[Any]) -> Plan:
    def check(value: Any) -> Any:
        for choice in choices:
            if type(choice) is type(value) and choice == value:
                return choice
        raise Mismatch(f"one of {', '.join(map(repr, choices))} is needed, not {_shown(value)}")

    return check


_CONTAINERS: dict[Any, type] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    dict: dict,
    Sequence: list,
    Mapping: dict,
    AbstractSet: set,
}


def _container(kind: Any, arguments: Sequence[Any]) -> Plan:
    target = _CONTAINERS[kind]
    if target is dict:
        return _object(plan_for(arguments[1]) if len(arguments) == 2 else None)
    if target is tuple and arguments and arguments[-1] is not Ellipsis:
        return _fixed([plan_for(argument) for argument in arguments])
    return _array(target, plan_for(arguments[0]) if arguments else None)


def _array(target: type, plan: Plan | None) -> Plan:
    def convert(value: Any) -> Any:
        if type(value) is not list:
            raise Mismatch(f"an array is needed, not {kind_of(value)}")
        try:
            if plan is None:
                return target(value)
            return target([_within(f"[{index}]", plan, item) for index, item in enumerate(value)])
        except TypeError:
            raise Mismatch("its items are not all of a kind that a set can hold") from None

    return convert


def _fixed(plans: Sequence[Plan | None]) -> Plan:
    def convert(value: Any) -> Any:
        if type(value) is not list or len(value) != len(plans):
            raise Mismatch(f"an array of {len(plans)} is needed, not {_shown(value)}")
        return tuple(
            item if plan is None else _within(f"[{index}]", plan, item)
            for index, (plan, item) in enumerate(zip(plans, value, strict=True))
        )

    return convert


def _object(plan: Plan | None) -> Plan:
    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch(f"an object is needed, not {kind_of(value)}")
        return value if plan is None else {key: _within(f".{key}", plan, item) for key, item in value.items()}

    return convert


def _within(where: str, plan: Plan, value: Any) -> Any:
    try:
        return plan(value)
    except Mismatch as mismatch:
        raise Mismatch(f"at {where[:60]}: {mismatch}") from None


def _from_text(annotation: Any) -> Plan | None:
    """Enum, UUID, Decimal, date and its kin: they come as the text (or number) that Python's constructors know."""
    if annotation is EMPTY or not isinstance(annotation, type):
        return None
    try:
        convert = converter_for(annotation)
    except ConversionError:
        return None
    if convert is None:
        return None
    name = annotation.__name__
    members = {member.value: member for member in getattr(annotation, "__members__", {}).values()}

    def to_value(value: Any) -> Any:
        if type(value) is int and value in members:
            return members[value]
        if type(value) is str or (name == "Decimal" and type(value) in (int, float)):
            try:
                return convert(str(value))
            except (ValueError, ArithmeticError):
                pass
        choices = f" ({', '.join(map(str, members))})" if members else ""
        raise Mismatch(f"a {name}{choices} is needed, not {_shown(value)}")

    return to_value


def _shown(value: Any) -> str:
    return ascii(value) if type(value) in (str, int, float) and len(str(value)) <= 40 else kind_of(value)


def to_plain(value: Any) -> Any:
    """What orjson does not know by itself, in terms that it knows; TypeError for the rest."""
    if isinstance(value, AbstractSet | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "decimal" and type(value).__name__ == "Decimal":
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview | str):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
