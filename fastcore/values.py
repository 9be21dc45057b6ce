"""`dataclass` for plain values, without what the standard library's costs: it imports `inspect`, `ast`, `dis` and
`tokenize`, 1.3 MB of every server's memory and a third of its start-up.

It makes frozen classes with slots, whose fields are annotations with or without a default value, and nothing else. They
are dataclasses all the same: what `dataclasses.fields`, `replace` and `asdict` need is made when one of them is used.
"""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from typing import Any, NoReturn


def dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
    """Decorate a class as `dataclasses.dataclass(frozen=True, slots=True)` does.

    Example::

        if TYPE_CHECKING:
            from dataclasses import dataclass
        else:
            from fastcore.values import dataclass

        @dataclass(frozen=True, slots=True)
        class Point:
            x: int
            y: int = 0

    Raises TypeError where the class should not be frozen or not have slots.
    """
    if not (frozen and slots):
        raise TypeError("only frozen classes with slots are made here: use the dataclass of the standard library")
    return _make


def _make(cls: type) -> type:
    names = tuple(cls.__annotations__)
    defaults = {name: cls.__dict__[name] for name in names if name in cls.__dict__}
    left_out = {*defaults, "__dict__", "__weakref__"}
    namespace = {name: value for name, value in cls.__dict__.items() if name not in left_out}
    namespace |= {
        "__slots__": names,
        "__match_args__": names,
        "__init__": _make_init(cls, names, defaults),
        "__eq__": _equal,
        "__hash__": _hash,
        "__repr__": _repr,
        "__getstate__": _get_state,
        "__setstate__": _set_state,
        "__setattr__": _refuse_setting,
        "__delattr__": _refuse_deleting,
        "__dataclass_fields__": _Fields(defaults),
    }
    made = type(cls)(cls.__name__, cls.__bases__, namespace)
    made.__qualname__ = cls.__qualname__
    return made


def _make_init(cls: type, names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    """`__init__` with the fields as its parameters, as source text: as fast as one written by hand."""
    parameters = ", ".join(f"{name}=_defaults[{name!r}]" if name in defaults else name for name in names)
    lines = [f"def __init__(self, {parameters}):", *(f" _set(self, {name!r}, {name})" for name in names)]
    if hasattr(cls, "__post_init__"):
        lines.append(" self.__post_init__()")
    scope = {"_set": object.__setattr__, "_defaults": defaults}
    exec("\n".join(lines), scope)  # noqa: S102 (names of fields, which are identifiers)
    init: Any = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(getattr(value, name) for name in value.__slots__)


def _equal(self: Any, other: object) -> bool:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


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

    def __init__(self, defaults: dict[str, Any]) -> None:
        self.defaults = defaults

    def __get__(self, instance: object, owner: Any) -> Any:
        from dataclasses import field, make_dataclass

        given = self.defaults
        fields: list[Any] = [
            (name, kind, field(default=given[name])) if name in given else (name, kind)
            for name, kind in owner.__annotations__.items()
        ]
        twin: Any = make_dataclass(owner.__name__, fields)
        owner.__dataclass_fields__ = twin.__dataclass_fields__
        return twin.__dataclass_fields__
