"""Values to what a parameter's annotation asks for, and results to what plain JSON has. Plans are made at registration.

A plan raises Mismatch, with the reason, for a value of another kind; nothing is coerced that would lose something.
The plainest annotations are checked here, all others by msgspec, which is imported with the first of them. What it
does not take (unions of kinds that look the same in JSON, enumerations of mixed values) is divided into what it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from framework.rpc.errors import Mismatch
from framework.rpc.progress import Progress
from framework.signatures import EMPTY

Plan = Callable[[Any], Any]


def kind_of(value: Any) -> str:
    """JSON's word for a value: ``kind_of([]) == "an array"``."""
    return _KINDS.get(type(value)) or f"a {type(value).__name__}"


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

    Raises TypeError for an annotation that cannot be checked, NameError for one that names what is not there.
    Example: ``plan_for(list[int])([1, 2]) == [1, 2]``.
    """
    if annotation is None or annotation is NoneType:
        return _to_none
    if annotation is Any or annotation is object or annotation is EMPTY:
        return None
    if isinstance(annotation, type):
        simple = _SIMPLE.get(annotation)
        if simple is not None:
            return simple
        if hasattr(annotation, "__members__"):
            return _enum(annotation)
    try:
        return _checked(annotation)
    except TypeError as error:
        return _divided(annotation, error)


def exact_kind(plan: Plan | None) -> type | None:
    """The type whose values a plan gives back as they are, where it has one."""
    return next((kind for kind, simple in _SIMPLE.items() if simple is plan), None)


def _checked(annotation: Any) -> Plan:
    """The plan of msgspec. Raises TypeError where it has none."""
    from msgspec import ValidationError, convert
    from msgspec.json import Decoder

    Decoder(annotation, dec_hook=_to_class)

    def to_value(value: Any) -> Any:
        try:
            return convert(value, annotation, dec_hook=_to_class, str_keys=True)
        except ValidationError as error:
            reason, _, where = str(error).replace(" - at `key` in `$", " (a key) - at `$").partition(" - at `$")
            where = where[:60].rstrip("`")
            raise Mismatch(f"at {where}: {reason}" if where else reason) from None
        except TypeError as error:  # an item that a set cannot hold
            raise Mismatch(str(error)) from None

    return to_value


_FROM_TEXT = frozenset({"pathlib", "pathlib._local", "ipaddress", "zoneinfo"})


def _to_class(annotation: Any, value: Any) -> Any:
    """msgspec's hook for classes that it does not know: an instance, as registered kinds are, or a text of some."""
    kind = get_origin(annotation) or annotation
    try:
        if isinstance(value, kind):
            return value
    except TypeError:  # a Protocol that cannot be asked
        return value
    if type(value) is str and kind.__module__ in _FROM_TEXT:
        return kind(value)
    raise ValueError(f"a {getattr(kind, '__name__', kind)} is needed, not {kind_of(value)}")


def _divided(annotation: Any, error: TypeError) -> Plan | None:
    origin = get_origin(annotation)
    arguments = get_args(annotation)
    if origin is Union or origin is UnionType:
        return _union([plan_for(argument) for argument in arguments])
    if origin in _CONTAINERS:
        return _container(origin, arguments)
    raise TypeError(f"it cannot be checked: {error}") from None


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


def _enum(kind: Any) -> Plan:
    members = {(type(member.value), member.value): member for member in kind if _is_hashable(member.value)}

    def to_member(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        member = members.get((type(value), value)) if _is_hashable(value) else None
        if member is None:
            choices = ", ".join(str(member.value) for member in kind)
            raise Mismatch(f"a {kind.__name__} ({choices[:200]}) is needed, not {_shown(value)}")
        return member

    return to_member


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


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
        return _object(*map(plan_for, arguments))
    if target is tuple and arguments and arguments[-1] is not Ellipsis:
        return _fixed([plan_for(argument) for argument in arguments])
    return _array(target, plan_for(arguments[0]) if arguments else None)


def _array(target: type, plan: Plan | None) -> Plan:
    def convert(value: Any) -> Any:
        if type(value) not in (list, tuple, set):
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
        if type(value) not in (list, tuple) or len(value) != len(plans):
            raise Mismatch(f"an array of {len(plans)} is needed, not {_shown(value)}")
        return tuple(
            item if plan is None else _within(f"[{index}]", plan, item)
            for index, (plan, item) in enumerate(zip(plans, value, strict=True))
        )

    return convert


def _object(key_plan: Plan | None, plan: Plan | None) -> Plan:
    def convert(value: Any) -> Any:
        if type(value) is not dict:
            raise Mismatch(f"an object is needed, not {kind_of(value)}")
        return {
            key if key_plan is None else _within(".key", key_plan, key): item
            if plan is None
            else _within(f".{key}", plan, item)
            for key, item in value.items()
        }

    return convert


def _within(where: str, plan: Plan, value: Any) -> Any:
    try:
        return plan(value)
    except Mismatch as mismatch:
        raise Mismatch(f"at {where[:60]}: {mismatch}") from None


def _shown(value: Any) -> str:
    return ascii(value) if type(value) in (str, int, float) and len(str(value)) <= 40 else kind_of(value)


def to_plain(value: Any) -> Any:
    """What orjson does not know by itself, in terms that it knows; TypeError for the rest."""
    if isinstance(value, AbstractSet | tuple):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(type(value), "__dataclass_fields__"):
        # not orjson's way: it leaves out what msgspec did not set, a default that stands in the class
        return {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    if isinstance(value, Progress):
        return {"done": value.done, "total": value.total, "text": value.text}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value).__module__ == "decimal" and type(value).__name__ == "Decimal":
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview | str):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
