"""A function of a Proxy as a page names it: `proxy.restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framework.rpc.proxy import Proxy


class Exported:
    """One exported function, or those under one dotted name. It is not called; it says where the function is.

    What takes it asks `__remote__()`: the handler, the function's name, and the query of the module that binds buttons.
    """

    __slots__ = ("_name", "_proxy")

    def __init__(self, proxy: Proxy, name: str) -> None:
        self._proxy = proxy
        self._name = name

    def __getattr__(self, name: str) -> Exported:
        return exported(self._proxy, f"{self._name}.{name}")

    def __remote__(self) -> tuple[Proxy, str, str]:
        if self._name not in self._proxy.functions:
            names = [name for name in self._proxy.functions if name.startswith(f"{self._name}.")]
            raise ValueError(f"{self._name!r} is not one function, but {', '.join(names)}")
        from framework.rpc.module import make_calls

        return self._proxy, self._name, f"calls.{make_calls()[1]}.mjs"

    def __repr__(self) -> str:
        return f"<{self._name} of {self._proxy!r}>"


def exported(proxy: Proxy, name: str) -> Exported:
    """The function of that name; AttributeError where none is exported."""
    if not name.startswith("_"):
        for known in proxy.functions:
            if known == name or known.startswith(f"{name}."):
                return Exported(proxy, name)
    raise AttributeError(f"{name!r} is not exported; there are {', '.join(proxy.functions)}")
