"""The light `dataclass` makes what the standard library's makes, and a worker is spared what that one imports."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import subprocess
import sys

import pytest

from fastcore.addresses import TcpAddress, UnixAddress
from fastcore.events import BodyReceived
from fastcore.limits import DEFAULT_LIMITS, LIMIT_NAMES, Limits
from fastcore.values import dataclass


@dataclass(frozen=True, slots=True)
class Light:
    """Made by fastcore.values."""

    first: int
    second: str = "two"
    third: tuple[int, ...] = (3,)


@dataclasses.dataclass(frozen=True, slots=True)
class Real:
    """Made by the standard library."""

    first: int
    second: str = "two"
    third: tuple[int, ...] = (3,)


def told(operation, kind):
    """What an operation gives or raises, with the class's name left out."""
    try:
        return str(operation(kind)).replace(kind.__name__, "K")
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace(kind.__name__, "K")


OPERATIONS = {
    "no argument": lambda kind: kind(),
    "an unknown argument": lambda kind: kind(1, fourth=4),
    "too many arguments": lambda kind: kind(1, "2", (3,), 4),
    "repr": lambda kind: repr(kind(1, third=())),
    "equal": lambda kind: kind(1) == kind(1, "two") and kind(1) != kind(2) and hash(kind(1)) == hash(kind(1)),
    "not equal to a tuple": lambda kind: kind(1) == (1, "two", (3,)),
    "assignment": lambda kind: setattr(kind(1), "first", 2),
    "deletion": lambda kind: delattr(kind(1), "first"),
    "no other attribute": lambda kind: hasattr(kind(1), "__dict__"),
    "match arguments": lambda kind: kind.__match_args__,
    "fields": lambda kind: [(field.name, field.default) for field in dataclasses.fields(kind)],
    "is a dataclass": lambda kind: dataclasses.is_dataclass(kind) and dataclasses.is_dataclass(kind(1)),
    "replace": lambda kind: dataclasses.replace(kind(1), second="x"),
    "asdict": lambda kind: dataclasses.asdict(kind(1)),
    "copy": lambda kind: copy.deepcopy(kind(1)),
    "pickle": lambda kind: pickle.loads(pickle.dumps(kind(1))),
    "documentation": lambda kind: kind.__doc__.partition(" ")[0],
    "module": lambda kind: (kind.__module__, kind.__qualname__),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_as_the_standard_library_has_it(operation):
    assert told(operation, Light) == told(operation, Real)


def test_only_what_it_can_do_is_taken():
    with pytest.raises(TypeError, match="frozen classes with slots"):
        dataclass(frozen=False, slots=True)


def test_the_public_values_are_dataclasses():
    assert tuple(field.name for field in dataclasses.fields(Limits)) == LIMIT_NAMES
    assert dataclasses.replace(DEFAULT_LIMITS, body=1).body == 1
    with pytest.raises(ValueError, match=r"Limits\.body"):
        dataclasses.replace(DEFAULT_LIMITS, body=0)
    assert len({UnixAddress("/a"), UnixAddress("/a"), TcpAddress("localhost", 1)}) == 2
    assert repr(BodyReceived(None, b"x")) == "BodyReceived(request=None, data=b'x')"  # type: ignore[arg-type]


HEAVY = ["argparse", "ast", "asyncio", "dataclasses", "inspect", "random", "tempfile", "threading"]
COMPILED_HEAVY = ["fastcore.pure.connection", "fastcore.pure.exchange", "fastcore.pure.loop", "typing"]


@pytest.mark.parametrize("interface", ["wsgi", "native"])
def test_a_worker_imports_nothing_heavy(interface, twin, twin_environment, tmp_path):
    """By the command, whose own parser is gone when the application is imported."""
    (tmp_path / "witness.py").write_text(
        "import json, sys\n"
        "def app(*_): pass\n"
        "class Enough(BaseException): pass\n"
        "import fastcore.server\n"
        "class Loop(fastcore.server.implementation.loop.WorkerLoop):\n"
        "    def run(self):\n"
        "        print(json.dumps(sorted(sys.modules)))\n"
        "fastcore.server.implementation.loop.WorkerLoop = Loop\n"
    )
    command = [sys.executable, "-S", "-m", "fastcore", "--bind", "127.0.0.1:0", "--interface", interface, "witness:app"]
    environment = {**twin_environment, "PYTHONPATH": ":".join(filter(None, sys.path))}
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    heavy = {*HEAVY, *(COMPILED_HEAVY if twin.name == "compiled" else [])}
    assert not set(json.loads(result.stdout)) & (heavy - {"json"})


def test_the_command_tells_its_mistakes_and_its_help(twin_environment):
    def run(*line):
        command = [sys.executable, "-m", "fastcore", *line]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, env=twin_environment)

    wrong = run("--nonsense")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.count("usage: python -m fastcore") == 1
    told = run("--help")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.count("usage: python -m fastcore") == 1
    assert run("--version").stdout.startswith("fastcore ")
    assert run("--bind", "unix:/nowhere/s", "no.such.module:app").returncode == 1
