"""Where a Python module is and which names its source binds, without importing anything of it."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


def find_module(name: str, path: list[str]) -> ModuleSpec | None:
    """The spec of a module, looked for in `path` and then where this interpreter looks; no module is imported."""
    first, *rest = name.split(".")
    spec = PathFinder.find_spec(first, [*path, *(entry for entry in sys.path if entry)]) or _find_installed(first)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(part, list(spec.submodule_search_locations))
    return spec


def _find_installed(name: str) -> ModuleSpec | None:
    """What only this interpreter's own finders know: built-in modules, packages installed to be edited in place."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def neighbours(module: str, path: Iterable[Path]) -> set[str]:
    """The names that stand where the last part of `module` was looked for."""
    parents = module.split(".")[:-1]
    found = set()
    for folder in path:
        try:
            entries = list(folder.joinpath(*parents).iterdir())
        except OSError:
            continue
        found |= {entry.stem for entry in entries if entry.suffix == ".py" and entry.stem.isidentifier()}
        found |= {entry.name for entry in entries if (entry / "__init__.py").exists()}
    return found - {"__init__"}


def global_names(tree: ast.Module) -> set[str]:
    """The names that a module's own statements bind; "*" where it imports unknown ones."""
    names: set[str] = set()
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        pending.extend(ast.iter_child_nodes(node))
    return names
