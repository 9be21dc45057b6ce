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
from fastcore.values import dataclass, field, field_names, replace


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


@dataclass(slots=True)
class LightBag:
    """Can be changed, and has what is made for each object."""

    name: str
    things: list[str] = field(default_factory=list)
    note: str = field(default="", compare=False)

    def __repr__(self):
        return f"bag {self.name}: {self.things}"


@dataclasses.dataclass(slots=True)
class RealBag:
    """Can be changed, and has what is made for each object."""

    name: str
    things: list[str] = dataclasses.field(default_factory=list)
    note: str = dataclasses.field(default="", compare=False)

    def __repr__(self):
        return f"bag {self.name}: {self.things}"


@dataclass(slots=True, eq=False)
class LightThing:
    """Equal to itself alone."""

    number: int


@dataclasses.dataclass(slots=True, eq=False)
class RealThing:
    """Equal to itself alone."""

    number: int


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


def changed(bag):
    bag.name = "other"
    bag.things.append("one")
    return bag


BAG_OPERATIONS = {
    "no argument": lambda kind: kind(),
    "its own repr": lambda kind: repr(kind("a", ["x"])),
    "a list for each": lambda kind: (changed(kind("a")), kind("a")),
    "a given list": lambda kind: kind("a", ["x"]).things,
    "not compared": lambda kind: kind("a", note="x") == kind("a", note="y"),
    "compared": lambda kind: kind("a", ["x"]) == kind("a", ["y"]),
    "no hash": lambda kind: hash(kind("a")),
    "no other attribute": lambda kind: setattr(kind("a"), "colour", "red"),
    "fields": lambda kind: [(field.name, field.compare) for field in dataclasses.fields(kind)],
    "replace": lambda kind: dataclasses.replace(kind("a", ["x"], "n"), name="b"),
    "asdict": lambda kind: dataclasses.asdict(kind("a", ["x"], "n")),
    "copy": lambda kind: copy.deepcopy(kind("a", ["x"])),
    "pickle": lambda kind: pickle.loads(pickle.dumps(kind("a", ["x"], "n"))).note,
}


@pytest.mark.parametrize("operation", BAG_OPERATIONS.values(), ids=BAG_OPERATIONS)
def test_with_factories_as_the_standard_library_has_it(operation):
    assert told(operation, LightBag) == told(operation, RealBag)


@pytest.mark.parametrize("kind", [LightThing, RealThing])
def test_without_equality(kind):
    thing = kind(1)
    assert thing == thing != kind(1)
    assert len({thing, kind(1)}) == 2


def test_replace_and_names_of_both_kinds():
    for kind in (LightBag, RealBag):
        bag = replace(kind("a", ["x"], "n"), name="b")
        assert (type(bag), bag.name, bag.things, bag.note) == (kind, "b", ["x"], "n")
        assert field_names(bag) == ("name", "things", "note")
        with pytest.raises(TypeError):
            replace(bag, colour="red")
    assert field_names("text") is None


def test_only_what_it_can_do_is_taken():
    with pytest.raises(TypeError, match="classes with slots"):
        dataclass(frozen=True, slots=False)


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
