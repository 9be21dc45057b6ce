from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastcore.routing.patterns import Route

class Matcher:
    routes: tuple[Route, ...]
    max_states: int

    def __init__(self, routes: Sequence[Route], max_states: int = 0) -> None: ...
    def find(self, path: str) -> tuple[int, dict[str, str]] | None: ...
    def match(self, path: str) -> tuple[Any, dict[str, str]] | None: ...
    def statistics(self) -> dict[str, int]: ...

class UrlPlan:
    def __init__(
        self,
        index: int,
        names: tuple[str, ...],
        texts: tuple[str, ...],
        slots: tuple[int, ...],
        takes_int: tuple[bool, ...],
    ) -> None: ...

class UrlBuilder:
    def __init__(
        self,
        matcher: Matcher,
        slowly: Callable[[Any, Mapping[str, Any]], str],
        learn: Callable[[Any, frozenset[str]], tuple[Any, ...] | None],
    ) -> None: ...
    @property
    def url(self) -> Callable[..., str]: ...
