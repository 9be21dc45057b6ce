"""A read-only mapping whose names may have several values: queries, forms, files. No parsing here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar, overload

from framework.errors import BadRequest

V = TypeVar("V")
T = TypeVar("T")
D = TypeVar("D")


class MissingField(BadRequest, KeyError):
    """A field that a handler asked for is not in the query or form: a 400 unless somebody catches it (as KeyError)."""

    __str__ = BadRequest.__str__


class MultiDict(Mapping[str, V], Generic[V]):
    """Names with one or more values each. As a mapping it has the *last* value; `getlist` has all, in their order.

    What is missing with ``[name]`` raises `MissingField`, which an `App` answers with a 400 that names the field.

    Example: ``MultiDict([("a", "1"), ("a", "2")], "query")["a"] == "2"``.
    """

    __slots__ = ("_pairs", "_values", "kind")

    def __init__(self, pairs: Iterable[tuple[str, V]] = (), kind: str = "form") -> None:
        """`kind` is the word for these in error texts: "query", "form", "files"."""
        self._pairs = tuple(pairs)
        self._values: dict[str, V] = dict(self._pairs)
        self.kind = kind

    def __getitem__(self, name: str) -> V:
        try:
            return self._values[name]
        except KeyError:
            raise MissingField(f"The field {name!r} is missing in the {self.kind}.") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __repr__(self) -> str:
        return f"MultiDict({list(self._pairs)!r}, {self.kind!r})"

    @overload
    def get(self, name: str, /) -> V | None: ...
    @overload
    def get(self, name: str, /, default: V) -> V: ...
    @overload
    def get(self, name: str, /, default: D) -> V | D: ...
    @overload
    def get(self, name: str, /, default: D = ..., *, type: Callable[[V], T]) -> T | D: ...

    def get(self, name: str, /, default: Any = None, *, type: Callable[[V], Any] | None = None) -> Any:
        """The last value of `name`, or `default`. With `type` the value is converted; what does not convert is a 400.

        Example: ``page = request.query.get("page", 1, type=int)``.
        """
        if name not in self._values:
            return default
        value = self._values[name]
        return value if type is None else self._convert(name, value, type)

    def getlist(self, name: str, *, type: Callable[[V], Any] | None = None) -> list[Any]:
        """All values of `name` in the order received; an empty list where there is none."""
        values = [value for key, value in self._pairs if key == name]
        return values if type is None else [self._convert(name, value, type) for value in values]

    def _convert(self, name: str, value: V, convert: Callable[[V], T]) -> T:
        try:
            return convert(value)
        except (ValueError, TypeError, ArithmeticError):
            kind = getattr(convert, "__name__", "value")
            raise BadRequest(f"The field {name!r} of the {self.kind} is no valid {kind}.") from None

    def pairs(self) -> tuple[tuple[str, V], ...]:
        """All (name, value) pairs in the order received."""
        return self._pairs
