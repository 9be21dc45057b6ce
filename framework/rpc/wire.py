"""Values that JSON has no kind for, written inside JSON: docs/rpc.md, "Kinds of values", is its specification.

A *tag* is an object with one key, and that begins with one "$": ``{"$set": [1, 2]}``. A plain object with one key that
begins with "$" gets another "$" there. Always holds: ``unpack(pack(value)) == value`` for every kind of the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from math import isfinite
from os import PathLike, fspath
from types import NoneType
from typing import Any

from framework.rpc.errors import Mismatch, RemoteError
from framework.rpc.progress import Progress

MAX_SAFE_INTEGER = 2**53 - 1
"""What a JavaScript number holds exactly (ECMA-262, Number.MAX_SAFE_INTEGER)."""

MAX_DIGITS = 4000
"""Digits of an integer; Python itself refuses more than 4300, because reading them takes quadratic time."""

MAX_KINDS = 1000
"""Types whose way of being sent is kept."""

Packer = Callable[[Any], Any]

_PLAIN = frozenset({str, bool, NoneType})


def pack(value: Any) -> Any:
    """`value` in terms of JSON: itself where it is plain JSON, else a copy with tags.

    Raises TypeError for what cannot be sent, RecursionError for what contains itself.
    Example: ``pack({"at": {1}}) == {"at": {"$set": [1]}}``.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    packer = _PACKERS.get(kind)
    return (_packer_of(kind) if packer is None else packer)(value)


def unpack(value: Any) -> Any:
    """What `pack` made, or a JavaScript client, as Python values. `value` is what a JSON parser gave.

    Raises Mismatch for a tag that is unknown or whose content is not of its kind.
    """
    kind = type(value)
    if kind is list:
        return [unpack(item) for item in value]
    if kind is not dict:
        return value
    if len(value) == 1:
        for key, inner in value.items():
            if key[:1] == "$":
                return {key[1:]: unpack(inner)} if key[1:2] == "$" else _unpack_tag(key[1:], inner)
    return {key: unpack(item) for key, item in value.items()}


def register(
    kind: type, name: str = "", *, encode: Packer | None = None, decode: Callable[[Any], Any] | None = None
) -> None:
    """Let values of a class of one's own keep their kind: ``{"$name": …}`` on the wire, in this process.

    Args:
        kind: the class; its subclasses are sent as it is.
        name: its tag, letters and digits beginning with a capital letter; the class's own name by default.
        encode: value → anything that can be sent. By default a dataclass's fields, an Enum's value.
        decode: what `encode` gave → value. By default ``kind(**fields)`` or ``kind(value)``.

    In JavaScript, `register(name, Class, encode, decode)` is the other side; a page without it gets a `Kind`.
    Raises ValueError for a name that is no tag or is another class's.

    Example: ``register(Point, encode=lambda p: [p.x, p.y], decode=lambda v: Point(*v))``.
    """
    name = name or kind.__name__
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]{0,60}", name):
        raise ValueError(f"a tag is letters and digits, beginning with a capital letter, not {name!r}")
    if _REGISTERED.get(name, (kind,))[0] is not kind:
        raise ValueError(f"{name!r} is the tag of {_REGISTERED[name][0].__qualname__}")
    if encode is None:
        encode = _own_form(kind)
    if decode is None:

        def decode(content: Any) -> Any:
            return kind(**content) if isinstance(content, dict) else kind(content)

    _REGISTERED[name] = (kind, encode, decode)
    _forget()


_REGISTERED: dict[str, tuple[type, Packer, Callable[[Any], Any]]] = {}


def registered() -> dict[str, type]:
    """The classes of `register`, by tag."""
    return {name: entry[0] for name, entry in _REGISTERED.items()}


def _own_form(kind: type) -> Packer:
    if hasattr(kind, "__members__"):
        return _enum_value
    if hasattr(kind, "__dataclass_fields__"):
        return _fields
    raise TypeError(f"register({kind.__qualname__}) needs encode=: it is neither a dataclass nor an Enum")


def _enum_value(value: Any) -> Any:
    return value.value


def _fields(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


def _pack_int(value: int) -> Any:
    if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER:
        return value
    if value.bit_length() > MAX_DIGITS * 3:
        raise TypeError(f"an integer of more than {MAX_DIGITS} digits cannot be sent")
    return {"$int": str(int(value))}


def _pack_float(value: float) -> Any:
    return value if isfinite(value) else {"$float": _FLOAT_TEXTS[str(float(value))]}


_FLOAT_TEXTS = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


# PERF: most values are plain, so both loops look at a value's type themselves before they call anything.
def _pack_list(value: list[Any]) -> list[Any]:
    made: list[Any] | None = None
    for index, item in enumerate(value):
        kind = type(item)
        if kind in _PLAIN or (kind is int and -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER):
            continue
        packed = pack(item)
        if packed is not item:
            if made is None:
                made = value.copy()
            made[index] = packed
    return value if made is None else made


def _pack_dict(value: Mapping[Any, Any]) -> Any:
    if type(value) is not dict:
        value = dict(value)
    made: dict[Any, Any] | None = None
    for key, item in value.items():
        if type(key) is not str:
            return _pack_map(value)
        kind = type(item)
        if kind in _PLAIN or (kind is int and -MAX_SAFE_INTEGER <= item <= MAX_SAFE_INTEGER):
            continue
        packed = pack(item)
        if packed is not item:
            if made is None:
                made = value.copy()
            made[key] = packed
    packed_dict = value if made is None else made
    if len(value) == 1:
        for key, item in packed_dict.items():
            if key[:1] == "$":
                return {"$" + key: item}
    return packed_dict


def _pack_map(value: dict[Any, Any]) -> Any:
    """A dict whose keys are not all plain text."""
    keys = [pack(key) for key in value]
    if all(type(key) is str for key in keys) and len(set(keys)) == len(keys):
        return _pack_dict(dict(zip(keys, value.values(), strict=True)))
    return {"$map": [[key, pack(item)] for key, item in zip(keys, value.values(), strict=True)]}


def _pack_items(tag: str) -> Packer:
    return lambda value: {tag: [pack(item) for item in value]}


def _pack_bytes(value: Any) -> dict[str, str]:
    from binascii import b2a_base64

    return {"$bytes": b2a_base64(value, newline=False).decode()}


def _pack_datetime(value: Any) -> dict[str, str]:
    offset = value.utcoffset()
    if offset is not None and (offset.seconds % 60 or offset.microseconds):
        value = (value - offset).replace(tzinfo=None)  # before standard time: no other language reads such an offset
        return {"$datetime": value.isoformat() + "+00:00"}
    return {"$datetime": value.isoformat()}


def _pack_time(value: Any) -> dict[str, str]:
    return {"$time": value.isoformat()}


def _pack_date(value: Any) -> dict[str, str]:
    return {"$date": value.isoformat()}


def _pack_timedelta(value: Any) -> dict[str, str]:
    micro = (value.days * 86400 + value.seconds) * 1_000_000 + value.microseconds
    seconds, rest = divmod(abs(micro), 1_000_000)
    text = f"{seconds}.{rest:06}".rstrip("0").rstrip(".") if rest else str(seconds)
    return {"$timedelta": "-" + text if micro < 0 else text}


def _pack_text(tag: str) -> Packer:
    return lambda value: {tag: str(value)}


def _pack_error(value: BaseException) -> dict[str, Any]:
    """Type, message and code; never a traceback."""
    content: dict[str, Any] = {"type": getattr(value, "type", None) or type(value).__name__, "message": str(value)}
    code = getattr(value, "code", None)
    if type(code) is int:
        content["code"] = code
    return {"$error": content}


_PACKERS: dict[type, Packer] = {}
_BUILT_IN: dict[type, Packer] = {
    int: _pack_int,
    float: _pack_float,
    list: _pack_list,
    dict: _pack_dict,
    tuple: _pack_items("$tuple"),
    set: _pack_items("$set"),
    frozenset: _pack_items("$set"),
    bytes: _pack_bytes,
    bytearray: _pack_bytes,
    Progress: lambda value: {"$progress": {"done": value.done, "total": value.total, "text": value.text}},
    memoryview: lambda value: _pack_bytes(value.tobytes()),
}
# By the name of the class: none of these modules is imported for it.
_BY_NAME: dict[tuple[str, str], Packer] = {
    ("datetime", "datetime"): _pack_datetime,
    ("datetime", "date"): _pack_date,
    ("datetime", "time"): _pack_time,
    ("datetime", "timedelta"): _pack_timedelta,
    ("decimal", "Decimal"): _pack_text("$decimal"),
    ("uuid", "UUID"): _pack_text("$uuid"),
}


def _forget() -> None:
    _PACKERS.clear()
    _PACKERS.update(_BUILT_IN)


_forget()


def _packer_of(kind: type) -> Packer:
    packer = _find_packer(kind)
    if len(_PACKERS) < MAX_KINDS:
        _PACKERS[kind] = packer
    return packer


def _find_packer(kind: type) -> Packer:
    for base in kind.__mro__:
        for name, (own, encode, _) in _REGISTERED.items():
            if base is own:
                return _pack_registered("$" + name, encode)
    if hasattr(kind, "__members__"):
        return lambda value: pack(value.value)
    if hasattr(kind, "__dataclass_fields__"):
        return lambda value: _pack_dict(_fields(value))
    if hasattr(kind, "__struct_fields__"):  # msgspec.Struct
        return lambda value: _pack_dict({name: getattr(value, name) for name in kind.__struct_fields__})
    for base in kind.__mro__:
        packer = _BUILT_IN.get(base) or _BY_NAME.get((base.__module__, base.__qualname__))
        if packer is not None:
            return packer if base is not list else lambda value: _pack_list(list(value))
    if issubclass(kind, str):
        return str.__str__
    if issubclass(kind, Mapping):
        return _pack_dict
    if issubclass(kind, AbstractSet):
        return _pack_items("$set")
    if issubclass(kind, PathLike):
        return fspath
    if issubclass(kind, Sequence) or kind.__name__ in ("dict_keys", "dict_values", "dict_items", "deque"):
        return lambda value: _pack_list(list(value))
    if issubclass(kind, BaseException):
        return _pack_error
    raise TypeError(f"{kind.__name__} cannot be sent as JSON")


def _pack_registered(tag: str, encode: Packer) -> Packer:
    return lambda value: {tag: pack(encode(value))}


def _unpack_tag(name: str, content: Any) -> Any:
    reader = _READERS.get(name)
    try:
        if reader is not None:
            return reader(content)
        if name in _REGISTERED:
            return _REGISTERED[name][2](unpack(content))
    except Mismatch:
        raise
    except (ValueError, TypeError, ArithmeticError, LookupError, AttributeError):
        raise Mismatch(f"this is no ${name[:60]}: {ascii(content)[:60]}") from None
    raise Mismatch(f"there is no kind ${ascii(name[:60])[1:-1]} here")


def _text(content: Any) -> str:
    if type(content) is not str:
        raise ValueError
    return content


def _list(content: Any) -> list[Any]:
    if type(content) is not list:
        raise ValueError
    return [unpack(item) for item in content]


def _matching(pattern: str, content: Any) -> str:
    if not re.fullmatch(pattern, _text(content), re.ASCII):
        raise ValueError
    return str(content)


def _read_int(content: Any) -> int:
    return int(_matching(rf"-?[0-9]{{1,{MAX_DIGITS}}}", content))


def _read_float(content: Any) -> float:
    return float(_matching(r"NaN|-?(?:Infinity|[0-9]{1,30}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,3})?)", content))


def _read_set(content: Any) -> set[Any]:
    items = [_hashable(item) for item in _list(content)]
    made = set(items)
    if len(made) < len(items):
        raise Mismatch("two items of this $set are the same in Python")
    return made


def _read_map(content: Any) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for pair in _list(content):
        key, item = pair
        key = _hashable(key)
        if key in made:
            raise Mismatch("two keys of this $map are the same in Python")
        made[key] = item
    return made


def _hashable(value: Any) -> Any:
    """A member of a set, or a key: lists become tuples, sets frozen sets."""
    if type(value) in (list, tuple):
        return tuple(_hashable(item) for item in value)
    return frozenset(value) if type(value) is set else value


def _read_bytes(content: Any) -> bytes:
    from binascii import a2b_base64

    return a2b_base64(_text(content), strict_mode=True)


def _read_datetime(content: Any) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(_text(content))


def _read_date(content: Any) -> Any:
    from datetime import date

    return date.fromisoformat(_matching(r"\d{4}-\d\d-\d\d", content))


def _read_time(content: Any) -> Any:
    from datetime import time

    return time.fromisoformat(_text(content))


def _read_timedelta(content: Any) -> Any:
    from datetime import timedelta

    sign, seconds, fraction = re.fullmatch(r"(-?)(\d{1,15})(?:\.(\d{1,6}))?", str(content), re.ASCII).groups("")  # type: ignore[union-attr]
    micro = int(seconds) * 1_000_000 + int(fraction.ljust(6, "0"))
    return timedelta(microseconds=-micro if sign else micro)


def _read_decimal(content: Any) -> Any:
    from decimal import Decimal

    return Decimal(_text(content))


def _read_uuid(content: Any) -> Any:
    from uuid import UUID

    return UUID(_matching(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", content))


def _read_error(content: Any) -> RemoteError:
    code = content.get("code", 0)
    return RemoteError(_text(content["message"]), type=_text(content["type"]), code=code if type(code) is int else 0)


_READERS: dict[str, Callable[[Any], Any]] = {
    "int": _read_int,
    "float": _read_float,
    "tuple": lambda content: tuple(_list(content)),
    "set": _read_set,
    "map": _read_map,
    "bytes": _read_bytes,
    "datetime": _read_datetime,
    "date": _read_date,
    "time": _read_time,
    "timedelta": _read_timedelta,
    "decimal": _read_decimal,
    "uuid": _read_uuid,
    "error": _read_error,
    "progress": lambda content: Progress(**content),
}
