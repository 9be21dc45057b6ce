"""The .pyi beside each compiled module says what the module has: names and signatures, by mypy's stubtest."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from fastcore import constants, implementation
from framework.xhtml import implementation as pages

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("fastcore/compiled", "framework/xhtml/compiled")
COMPILED = [path for folder in FOLDERS for path in sorted((ROOT / folder).glob("*.pyx"))]
ROOMS = [f"fastcore.{{}}.{room}" for room in implementation.ROOMS]
ROOMS += [f"framework.xhtml.{{}}.{room}" for room in pages.ROOMS]

# Names that need no stub: what Cython adds to every module and type; a __cinit__, which keeps its signature to itself;
# and constants that a module has imported.
# release_memory: Python 3.13 takes a built-in function without parameters for a method and shows its `self`.
ALLOWED = r"""
.*\.__pyx_.*
.*\.__test__
.*\.__(reduce|setstate)_cython__
fastcore\.compiled\.request\.Request\.__init__
fastcore\.compiled\.loop\.release_memory
""" + "".join(rf"fastcore\.compiled\.\w+\.{name}" + "\n" for name in vars(constants))
OPTIONS = ("--ignore-unused-allowlist", "--ignore-disjoint-bases")


def compiled_module(source: Path) -> str:
    if not any(source.parent.glob(f"{source.stem}.*.so")):
        pytest.skip("the compiled modules are not built (make build)")
    return ".".join(source.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize("source", COMPILED, ids=lambda path: path.stem)
def test_each_compiled_module_has_a_stub(source: Path) -> None:
    assert source.with_suffix(".pyi").is_file()


def test_no_stub_without_its_module() -> None:
    stubs = {path.with_suffix("") for folder in FOLDERS for path in (ROOT / folder).glob("*.pyi")}
    assert stubs <= {path.with_suffix("") for path in COMPILED}


def test_stubs_do_not_drift(tmp_path: Path) -> None:
    modules = [compiled_module(source) for source in COMPILED]
    allowlist = tmp_path / "allowlist"
    allowlist.write_text(ALLOWED)
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", *OPTIONS, "--allowlist", allowlist, *modules],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_compiled_twin_has_what_the_pure_one_defines(room: str) -> None:
    compiled_module(ROOT.joinpath(*room.format("compiled").split(".")).with_suffix(".pyx"))

    pure, compiled = (importlib.import_module(room.format(twin)) for twin in ("pure", "compiled"))
    defined = {
        name
        for name, value in vars(pure).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == pure.__name__
    }
    assert {name for name in defined if not hasattr(compiled, name)} == set()
