"""`dataclass`, `field` and `replace` for plain values, without what the standard library's cost: it imports `inspect`,
`ast`, `dis` and `tokenize`, 1.1 MB of every process's memory and a third of its start-up.

The classes have slots; their fields are annotations with or without a default value or factory, and nothing else. They
are dataclasses all the same: what `dataclasses.fields`, `replace` and `asdict` need is made when one of them is used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass, field, replace  # what type checkers see
    from typing import Any, NoReturn, TypeVar

    Value = TypeVar("Value")

__all__ = ["dataclass", "field", "field_names", "replace"]

_MISSING = object()


def _dataclass(*, slots: bool, frozen: bool = False, eq: bool = True) -> Callable[[type], type]:
    """Decorate a class as `dataclasses.dataclass(slots=True)` does.

    Example::

        @dataclass(frozen=True, slots=True)
        class Point:
            x: int
            y: int = 0
            names: list[str] = field(default_factory=list)

    Raises TypeError where the class should not have slots.
    """
    if not slots:
        raise TypeError("only classes with slots are made here: use the dataclass of the standard library")
    return lambda cls: _make(cls, frozen, eq)


def _field(*, default: Any = _MISSING, default_factory: Any = _MISSING, compare: bool = True) -> Any:
    """A field's default, or what makes one for each object; `compare`: whether it counts in comparisons."""
    return _Field(default, default_factory, compare)


def _replace(value: Value, /, **changes: Any) -> Value:
    """A copy with other values for some fields, as `dataclasses.replace` makes it."""
    if not isinstance(_described(value), _Fields):
        from dataclasses import replace as standard

        made: Value = standard(value, **changes)  # type: ignore[type-var]
        return made
    return value.__class__(**{name: getattr(value, name) for name in type(value).__slots__} | changes)  # type: ignore[attr-defined]


def field_names(value: object) -> tuple[str, ...] | None:
    """The names of the fields where a value is of a dataclass, of this module or the standard library; else None.

    >>> field_names(Point(1, 2))
    ('x', 'y', 'names')
    """
    found = _described(value)
    if found is None or isinstance(found, _Fields):
        return None if found is None else found.names
    from dataclasses import fields

    return tuple(field.name for field in fields(value))  # type: ignore[arg-type]


def _described(value: object) -> object:
    """`__dataclass_fields__` as the class has it, without reading it: that would import the standard library's."""
    classes = (cls for cls in type(value).__mro__ if "__dataclass_fields__" in vars(cls))
    return next((vars(cls)["__dataclass_fields__"] for cls in classes), None)


class _Field:
    __slots__ = ("compare", "default", "default_factory")

    def __init__(self, default: Any, default_factory: Any, compare: bool) -> None:
        self.default = default
        self.default_factory = default_factory
        self.compare = compare


def _make(cls: type, frozen: bool, eq: bool) -> type:
    names = tuple(cls.__annotations__)
    given = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    fields = {name: value if isinstance(value, _Field) else _field(default=value) for name, value in given.items()}
    left_out = {*fields, "__dict__", "__weakref__"}
    namespace = {name: value for name, value in cls.__dict__.items() if name not in left_out}
    namespace |= {
        "__slots__": names,
        "__match_args__": names,
        "__init__": _make_init(cls, names, fields),
        "__getstate__": _get_state,
        "__setstate__": _set_state,
        "__dataclass_fields__": _Fields(names, fields),
    }
    namespace.setdefault("__repr__", _repr)
    if eq:
        compared = tuple(name for name in names if name not in fields or fields[name].compare)
        namespace["_compared"] = compared
        namespace.setdefault("__eq__", _equal)
        namespace.setdefault("__hash__", _hash if frozen else None)
    if frozen:
        namespace |= {"__setattr__": _refuse_setting, "__delattr__": _refuse_deleting}
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    return made


def _make_init(cls: type, names: tuple[str, ...], fields: dict[str, _Field]) -> Any:
    """`__init__` with the fields as its parameters, as source text: as fast as one written by hand."""
    scope: dict[str, Any] = {"_set": object.__setattr__, "_missing": _MISSING}
    parameters, lines = [], []
    for name in names:
        value, field = name, fields.get(name)
        if field is None:
            parameters.append(name)
        elif field.default_factory is _MISSING:
            parameters.append(f"{name}=_default_{name}")
            scope[f"_default_{name}"] = field.default
        else:
            parameters.append(f"{name}=_missing")
            scope[f"_make_{name}"] = field.default_factory
            value = f"_make_{name}() if {name} is _missing else {name}"
        lines.append(f" _set(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec("\n".join([f"def __init__(self, {', '.join(parameters)}):", *lines]), scope)  # noqa: S102 (identifiers)
    init: Any = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in value.__slots__)


def _compared(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in value._compared)


def _equal(self: Any, other: object) -> bool:
    return _compared(self) == _compared(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
    return f"{self.__class__.__qualname__}({fields})"


def _get_state(self: Any) -> list[Any]:
    return list(_values(self))


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)


def _refuse_setting(self: Any, name: str, value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_deleting(self: Any, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _Fields:
    """`__dataclass_fields__`, made by the standard library when it is first read, then kept."""

    def __init__(self, names: tuple[str, ...], fields: dict[str, _Field]) -> None:
        self.names = names
        self.fields = fields

    def __get__(self, instance: object, owner: Any) -> Any:
        from dataclasses import field, make_dataclass

        described: list[Any] = []
        for name, kind in owner.__annotations__.items():
            ours = self.fields.get(name)
            if ours is None:
                described.append((name, kind))
            elif ours.default_factory is _MISSING:
                described.append((name, kind, field(default=ours.default, compare=ours.compare)))
            else:
                described.append((name, kind, field(default_factory=ours.default_factory, compare=ours.compare)))
        twin: Any = make_dataclass(owner.__name__, described)
        owner.__dataclass_fields__ = twin.__dataclass_fields__
        return twin.__dataclass_fields__


if not TYPE_CHECKING:
    dataclass, field, replace = _dataclass, _field, _replace
