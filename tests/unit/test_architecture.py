"""Imports point down, as docs/architecture.md draws it: read from the syntax trees, cimports included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastcore import implementation
from framework.xhtml import implementation as pages

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fastcore", "framework")
MAX_LINES = 700

# From top to bottom. A floor is a tuple of rooms, a room a tuple of module prefixes. A module may import its own room
# and the floors below; rooms beside each other keep out of each other. A twin's module stands without pure or compiled.
FLOORS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("framework.cli",),),
    (("framework.process",),),
    (("framework.frontends",),),
    (("framework.site",),),
    (("framework.rpc",), ("framework.xhtml",)),
    (
        (
            "framework.app",
            "framework.conversion",
            "framework.cookies",
            "framework.errors",
            "framework.files",
            "framework.finish",
            "framework.folders",
            "framework.formdata",
            "framework.handlers",
            "framework.headers",
            "framework.limits",
            "framework.middleware",
            "framework.mounts",
            "framework.pending",
            "framework.multidict",
            "framework.negotiation",
            "framework.request",
            "framework.response",
            "framework.signatures",
            "framework.urls",
            "framework.wsgi",
        ),
    ),
    (("fastcore.__main__",), ("fastcore.flup",)),
    (("fastcore.server",), ("fastcore.cgi",)),
    (("fastcore.adjust",),),
    (("fastcore.elastic",),),
    (("fastcore.workers",),),
    (("fastcore.loop",), ("fastcore.client",)),
    (("fastcore.service",), ("fastcore.acceptor",)),
    (("fastcore.scoreboard",),),
    (("fastcore.channel",), ("fastcore.peers",)),
    (("fastcore.exchange",),),
    (("fastcore.wsgi",), ("fastcore.connection",)),
    (("fastcore.events",),),
    (("fastcore.request",), ("fastcore.response",), ("fastcore.direct",), ("fastcore.sendfile",)),
    (("fastcore.records",), ("fastcore.body",), ("fastcore.stream",)),
    (("fastcore.spool",),),
    (
        (
            "fastcore.routing",
            "fastcore.matcher",
            "fastcore.matching",
            "fastcore.programs",
            "fastcore.states",
            "fastcore.steps",
        ),
    ),
    (
        ("fastcore.listeners",),
        ("fastcore.calltimer",),
        ("fastcore.pulse",),
        ("fastcore.chunks",),
        ("fastcore.asynchronous",),
    ),
    (("fastcore.log",),),
    (("fastcore.buffer",), ("fastcore.cursor",), ("fastcore.protocol",), ("fastcore.system",)),
    (("fastcore.addresses",), ("fastcore.constants",), ("fastcore.limits",), ("fastcore.implementation",)),
    (("fastcore.values",),),
    (("fastcore.errors",), ("fastcore.statuses",), ("fastcore.files",)),
)

CIMPORT = re.compile(
    r"^\s*(?:from\s+(fastcore[\w.]*)\s+c?import\s+([\w, ()]+)|c?import\s+(fastcore[\w.]*))", re.MULTILINE
)


def place_of(module: str) -> tuple[int, tuple[str, ...]] | None:
    """(floor counted from the top, room), None for a package's own `__init__`, which only lends names."""
    name = re.sub(r"^fastcore\.(pure|compiled)\b", "fastcore", module)
    if name in PACKAGES:
        return None
    for floor, rooms in enumerate(FLOORS):
        for room in rooms:
            if any(name == prefix or name.startswith(prefix + ".") for prefix in room):
                return floor, room
    pytest.fail(f"{module} is on no floor: give it a place in FLOORS and in docs/architecture.md")


def sources() -> list[Path]:
    return sorted(
        path
        for package in PACKAGES
        for suffix in ("*.py", "*.pyx", "*.pxd")
        for path in (ROOT / package).rglob(suffix)
        if "static" not in path.parts
    )


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`, which do not exist when the program runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield other
                yield from runtime_nodes(other)
            continue
        yield child
        yield from runtime_nodes(child)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyx", ".pxd"))


def imported(path: Path) -> set[str]:
    """The modules of this project that a file imports: the submodule where the imported name is one."""
    found = set()
    for module, names in python_imports(path) if path.suffix == ".py" else cython_imports(path):
        if module.partition(".")[0] in PACKAGES:
            submodules = {f"{module}.{name}" for name in names if is_module(f"{module}.{name}")}
            found |= submodules or {module}
    return found


def python_imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    for node in runtime_nodes(ast.parse(path.read_text("utf-8"), path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        elif isinstance(node, ast.ImportFrom):
            package = module_of(path).split(".")
            if path.name != "__init__.py":
                package.pop()
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])]), [alias.name for alias in node.names]


def cython_imports(path: Path) -> Iterator[tuple[str, list[str]]]:
    for source, names, plain in CIMPORT.findall(path.read_text("utf-8")):
        yield source or plain, re.findall(r"\w+", names)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = place_of(module_of(path))
    if here is None:
        return
    floor, room = here
    for target in imported(path):
        there = place_of(target)
        if there is None or there[1] == room:
            continue
        assert there[0] > floor, f"{module_of(path)} imports {target}, which is not below it"


def test_fastcore_knows_nothing_of_framework() -> None:
    for path in sources():
        if path.is_relative_to(ROOT / "fastcore"):
            upwards = [name for name in imported(path) if name.startswith("framework")]
            assert not upwards, f"{path.relative_to(ROOT)} imports {upwards}"


@pytest.mark.parametrize(("package", "rooms"), [("fastcore", implementation.ROOMS), ("framework/xhtml", pages.ROOMS)])
def test_every_room_has_both_twins(package: str, rooms: tuple[str, ...]) -> None:
    pure = {path.stem for path in (ROOT / package / "pure").glob("*.py")} - {"__init__"}
    compiled = {path.stem for path in (ROOT / package / "compiled").glob("*.pyx")}
    assert set(rooms) <= pure
    assert set(rooms) <= compiled


def test_no_file_outgrows_its_room() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text("utf-8").count("\n") for path in sources()}
    assert not {path: count for path, count in lines.items() if count > MAX_LINES}, "these want a second room"


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("fastcore", "framework, asyncio, socket, ssl, logging, email, http"),
        ("framework", "framework.app, framework.xhtml, asyncio, ssl, logging, email, http, orjson"),
        ("framework.process.supervisor", "framework.app, framework.request, framework.xhtml, http, asyncio, ssl"),
        ("framework.process.supervisor", "dataclasses, inspect, argparse, hashlib, tomllib, subprocess"),
        ("framework.cli.run", "argparse, dataclasses, inspect, tomllib, subprocess"),
        ("framework.app", "dataclasses, inspect, argparse, logging, traceback, hashlib, ctypes, pathlib"),
        ("framework.xhtml.tables", "dataclasses, inspect, argparse, logging, traceback, hashlib, ctypes, pathlib"),
    ],
)
def test_import_stays_small(module: str, unwanted: str) -> None:
    """Import time counts on small machines, and the process that stays root carries no application code, no HTTP."""
    program = f"import sys, {module}; print(*(name for name in {unwanted.split(', ')!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
