"""Something to do as soon as a module is imported by whoever: set up what the module alone needs, and not before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder

TYPE_CHECKING = False  # as in typing, without importing it
if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["when_imported"]


def when_imported(name: str, then: Callable[[], object]) -> None:
    """Call `then` once, right after the top-level module `name` was imported; at once where it is there already.

    >>> when_imported("logging", configure)
    """
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Witness(name, then))


class _Witness:
    """A finder that finds one module as the path does, and goes."""

    def __init__(self, name: str, then: Callable[[], object]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = self._after(spec.loader.exec_module)  # type: ignore[assignment,method-assign]
        return spec

    def _after(self, execute: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
        def execute_and_tell(module: ModuleType) -> None:
            execute(module)
            self._then()

        return execute_and_tell
