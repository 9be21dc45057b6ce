"""The one place that chooses between the compiled modules and their pure-Python twins.

`FASTCORE_PURE=1` picks the twin. `FASTCORE_REQUIRE_COMPILED=1` fails loudly where the compiled modules are missing.
Modules are imported when first used: a program that only routes does not load the worker loop.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from typing import Any, Literal

    TwinName = Literal["pure", "compiled"]

ROOMS = (
    "records",
    "response",
    "body",
    "stream",
    "request",
    "connection",
    "sendfile",
    "exchange",
    "wsgi",
    "channel",
    "scoreboard",
    "acceptor",
    "service",
    "loop",
    "matcher",
)


def _compiled_modules_exist() -> bool:
    from importlib.machinery import PathFinder  # importlib.util would bring half a megabyte

    from fastcore import compiled

    return PathFinder.find_spec("fastcore.compiled.loop", compiled.__path__) is not None


def _choose() -> TwinName:
    if os.environ.get("FASTCORE_PURE", "0") not in ("", "0"):
        return "pure"
    if _compiled_modules_exist():
        return "compiled"
    if os.environ.get("FASTCORE_REQUIRE_COMPILED", "0") not in ("", "0"):
        raise ImportError(
            "FASTCORE_REQUIRE_COMPILED is set, but the compiled modules of fastcore are missing: "
            "install a C compiler and Python's headers (Debian: apt-get install gcc python3-dev), "
            "then run: pip install --force-reinstall --no-binary fastcore-fcgi fastcore-fcgi"
        )
    return "pure"


chosen: TwinName = _choose()
accelerated: bool = chosen == "compiled"


class Twin:
    """The rooms of one implementation: `twin.records`, `twin.connection`, …; each imported when first read."""

    def __init__(self, name: TwinName) -> None:
        self.name = name

    def __getattr__(self, room: str) -> Any:
        if room not in ROOMS:
            raise AttributeError(f"fastcore has no room {room!r}; there are {', '.join(ROOMS)}")
        module = importlib.import_module(f"fastcore.{self.name}.{room}")
        setattr(self, room, module)
        return module

    def __repr__(self) -> str:
        return f"<the {self.name} twin of fastcore>"


_twins: dict[str, Twin] = {}


def twin(name: TwinName) -> Twin:
    """One implementation by name, whatever the environment says: for tests and benchmarks.

    Raises ValueError for another name. Example: ``twin("pure").records.parse_header(data)``.
    """
    if name not in ("pure", "compiled"):
        raise ValueError(f"there is no twin {name!r}; there are 'pure' and 'compiled'")
    return _twins.setdefault(name, Twin(name))


def __getattr__(room: str) -> ModuleType:
    if room in ROOMS:
        module: ModuleType = getattr(twin(chosen), room)
        return module
    raise AttributeError(f"module {__name__!r} has no attribute {room!r}")
