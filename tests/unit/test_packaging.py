"""What is shipped: source archive and wheel hold all that they must, and an installation without a compiler runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STATIC_SUFFIXES = {".css", ".js", ".mjs", ".ts", ".svg"}


def attempt(*command: object, cwd: Path, **switches: str) -> subprocess.CompletedProcess[str]:
    """Run a command with only these switches of ours in its environment."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("FASTCORE_")}
    return subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, cwd=cwd, env=others | switches, timeout=110
    )


def run(*command: object, cwd: Path, **switches: str) -> str:
    done = attempt(*command, cwd=cwd, **switches)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def package_files(*suffixes: str) -> set[str]:
    """Files of both packages with these suffixes, relative to the checkout."""
    return {
        str(path.relative_to(ROOT))
        for package in ("fastcore", "framework")
        for path in (ROOT / package).rglob("*")
        if path.suffix in suffixes and "__pycache__" not in path.parts and "node_modules" not in path.parts
    }


@pytest.fixture(scope="module")
def source_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sdist")
    program = f"from setuptools import build_meta; build_meta.build_sdist({str(directory)!r})"
    run(sys.executable, "-c", program, cwd=unpacked_checkout(tmp_path_factory.mktemp("checkout")))
    (archive,) = directory.glob("*.tar.gz")
    return archive


def unpacked_checkout(directory: Path) -> Path:
    """A copy of the files under version control or new, without what is ignored: building leaves the checkout alone."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing to build from")
    listed = run("git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, directory / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    return directory


@pytest.fixture(scope="module")
def source_tree(source_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("source")
    with tarfile.open(source_archive) as archive:
        archive.extractall(directory, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (tree,) = directory.iterdir()
    return tree


@pytest.fixture(scope="module")
def pure_wheel(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    program = f"from setuptools import build_meta; build_meta.build_wheel({str(directory)!r})"
    run(sys.executable, "-c", program, cwd=source_tree, FASTCORE_NO_EXTENSIONS="1")
    (wheel,) = directory.glob("*.whl")
    return wheel


def test_source_archive_has_what_builds_and_documents(source_tree: Path) -> None:
    shipped = {str(path.relative_to(source_tree)) for path in source_tree.rglob("*") if path.is_file()}
    assert package_files(".py", ".pyi", ".pyx", ".pxd", *STATIC_SUFFIXES) <= shipped
    wanted = {"pyproject.toml", "setup.py", "Makefile", "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert wanted | {"fastcore/py.typed", "framework/py.typed", "tests/conftest.py", "docs/architecture.md"} <= shipped


def test_source_archive_has_nothing_built(source_tree: Path) -> None:
    built = {".so", ".c", ".pyc", ".o", ".html"}
    found = [path for package in ("fastcore", "framework") for path in (source_tree / package).rglob("*")]
    assert [path for path in found if path.suffix in built] == []


def test_wheel_has_modules_types_and_static_files(pure_wheel: Path) -> None:
    with zipfile.ZipFile(pure_wheel) as wheel:
        shipped = set(wheel.namelist())
    assert package_files(".py", ".pyi", *STATIC_SUFFIXES) <= shipped
    assert {"fastcore/py.typed", "framework/py.typed"} <= shipped
    assert {name.partition("/")[0] for name in shipped if ".dist-info" not in name} == {"fastcore", "framework"}


def test_pure_wheel_runs_without_the_checkout(pure_wheel: Path, tmp_path: Path) -> None:
    """FASTCORE_NO_EXTENSIONS=1: the wheel fits any machine, and the twin runs."""
    assert pure_wheel.name.endswith("-py3-none-any.whl")
    venv.create(tmp_path / "venv", symlinks=True)
    with zipfile.ZipFile(pure_wheel) as wheel:
        wheel.extractall(tmp_path / "site")
    program = (
        "import fastcore, framework, framework.cli; from fastcore import Router\n"
        "print(fastcore.accelerated, Router([(r'/(?P<name>\\w+)$', 'page')]).match('/a'), fastcore.__file__)"
    )
    python = tmp_path / "venv" / "bin" / "python"
    output = run(python, "-c", program, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert output.startswith("False ('page', {'name': 'a'})")
    assert str(tmp_path / "site") in output


@pytest.fixture
def one_module_tree(tmp_path: Path) -> Path:
    """A checkout with a single small compiled module: what the build does where it cannot compile."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "fastcore" / "compiled").mkdir(parents=True)
    for name in ("fastcore/__init__.py", "fastcore/compiled/__init__.py"):
        (tmp_path / name).touch()
    (tmp_path / "fastcore" / "compiled" / "small.pyx").write_text("def answer():\n    return 42\n")
    return tmp_path


def test_missing_compiler_warns_once_and_goes_on(one_module_tree: Path) -> None:
    done = attempt(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=one_module_tree, CC="/no/such/cc")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("WARNING: fastcore's compiled modules could not be built") == 1
    assert "apt-get install gcc python3-dev" in done.stderr
    assert list(one_module_tree.rglob("*.so")) == []


def test_missing_compiler_fails_where_compiled_modules_are_required(one_module_tree: Path) -> None:
    done = attempt(
        *(sys.executable, "setup.py", "-q", "build_ext", "--inplace"),
        cwd=one_module_tree,
        CC="/no/such/cc",
        FASTCORE_REQUIRE_COMPILED="1",
    )
    assert done.returncode != 0


@pytest.mark.parametrize("switch", ["", "FASTCORE_DEBUG", "FASTCORE_SANITIZE"])
def test_build_switches(one_module_tree: Path, switch: str) -> None:
    if not shutil.which("gcc"):
        pytest.skip("no compiler")
    switches = {"FASTCORE_REQUIRE_COMPILED": "1"} | ({switch: "1"} if switch else {})
    run(sys.executable, "setup.py", "-q", "build_ext", "--inplace", cwd=one_module_tree, **switches)
    (built,) = (one_module_tree / "fastcore" / "compiled").glob("small.*.so")
    assert (b"__asan_" in built.read_bytes()) == (switch == "FASTCORE_SANITIZE")
    assert list((one_module_tree / "fastcore").rglob("*.c")) == [], "generated C stays out of the sources"


def test_versions_agree() -> None:
    import fastcore

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert fastcore.__version__ == project["version"]


def test_scripts_of_the_project_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for target in project["scripts"].values():
        module, _, function = target.partition(":")
        program = f"import {module}; assert callable({module}.{function})"
        run(sys.executable, "-c", program, cwd=ROOT)
