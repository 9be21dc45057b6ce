"""Arguments of remote calls: bound by signature, converted by annotation; what does not fit names the argument."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import app_caller
import msgspec
import pytest

import framework
from framework import Request
from framework.rpc import CallLimits, Proxy
from framework.rpc.binding import RemoteFunction
from framework.rpc.errors import ProtocolError

if TYPE_CHECKING:
    from framework import request as hidden


class Level(enum.Enum):
    LOW = 1
    HIGH = "high"


@dataclasses.dataclass
class Disk:
    name: str
    sizes: set[int] = dataclasses.field(default_factory=set)
    since: datetime.date | None = None


class Options(TypedDict, total=False):
    deep: bool


class Place(NamedTuple):
    x: int
    y: int = 0


Small = Annotated[int, msgspec.Meta(le=10)]

REQUEST = Request(app_caller.native_request([(b"PATH_INFO", b"/rpc")]))


def run(function: Callable[..., Any], params: Any) -> Any:
    return RemoteFunction("f", function).call(params, REQUEST)


def refusal(function: Callable[..., Any], params: Any) -> str:
    with pytest.raises(ProtocolError) as caught:
        run(function, params)
    assert caught.value.code == -32602
    assert str(caught.value).startswith("Invalid params: f(")
    return str(caught.value)


def kill(pid: int, signal: int = 15, *, force: bool = False) -> list[Any]:
    return [pid, signal, force]


def test_arguments_come_by_position_or_by_name() -> None:
    assert run(kill, [7]) == [7, 15, False]
    assert run(kill, [7, 9]) == [7, 9, False]
    assert run(kill, {"pid": 7, "force": True}) == [7, 15, True]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ([], "the argument 'pid' is missing"),
        ({"signal": 9}, "the argument 'pid' is missing"),
        ([1, 2, 3], "it takes 2 arguments, not 3"),
        ({"pid": 1, "sgnal": 9}, "it has no argument 'sgnal'"),
        (["x"], "the argument 'pid': an integer is needed, not a string"),
        ([1.5], "the argument 'pid': an integer is needed, not a number"),
        ([True], "the argument 'pid': an integer is needed, not a boolean"),
        ([None], "the argument 'pid': an integer is needed, not null"),
        ({"pid": 1, "force": 1}, "the argument 'force': a boolean is needed, not an integer"),
    ],
)
def test_what_does_not_fit_names_the_argument(params: Any, words: str) -> None:
    assert words in refusal(kill, params)


def only_by_position(a: int, b: int = 2, /, c: int = 3) -> list[int]:
    return [a, b, c]


def gather(first: str, *rest: Any, last: str = "-", **named: Any) -> list[Any]:
    return [first, list(rest), last, named]


class Fan:
    def set_speed(self, speed: float) -> float:
        return speed

    @classmethod
    def names(cls, prefix: str) -> str:
        return prefix + cls.__name__

    def __call__(self, speed: float) -> float:
        return speed


def test_every_kind_of_callable_is_bound() -> None:
    assert run(only_by_position, [1]) == [1, 2, 3]
    assert run(only_by_position, [1, 5, 6]) == [1, 5, 6]
    assert "no argument 'a'" in refusal(only_by_position, {"a": 1})
    assert run(gather, ["a", 1, 2]) == ["a", [1, 2], "-", {}]
    assert run(gather, {"first": "a", "last": "z", "more": 3}) == ["a", [], "z", {"more": 3}]
    assert "no argument '__x'" in refusal(gather, {"first": "a", "__x": 3})
    assert run(Fan().set_speed, [3]) == 3.0
    assert run(Fan.names, ["a"]) == "aFan"
    assert run(Fan(), [2]) == 2.0
    assert run(functools.partial(kill, 5), {"signal": 1}) == [5, 1, False]
    assert run(lambda x: x, [None]) is None


@pytest.mark.parametrize(
    ("annotation", "sent", "got"),
    [
        (int, 2.0, 2),
        (float, 2, 2.0),
        (str, "ü", "ü"),
        (Any, {"a": 1}, {"a": 1}),
        (object, 1, 1),
        (None, None, None),
        (list, [1, "a"], [1, "a"]),
        (list[int], [1, 2], [1, 2]),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
        (set[int], [1, 1, 2], {1, 2}),
        (frozenset[str], ["a"], frozenset("a")),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (dict, {"a": []}, {"a": []}),
        (int | None, None, None),
        (Optional[int], 3, 3),  # noqa: UP045
        (int | str, "a", "a"),
        (int | Any, [], []),
        (Literal["on", 1], 1, 1),
        (Level, "high", Level.HIGH),
        (Level, 1, Level.LOW),
        (datetime.date, "2026-02-28", datetime.date(2026, 2, 28)),
        (datetime.datetime, "2026-02-28T10:00:00+01:00", datetime.datetime.fromisoformat("2026-02-28T10:00:00+01:00")),
        (uuid.UUID, "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
        (Decimal, "1.10", Decimal("1.10")),
        (Decimal, 2, Decimal(2)),
        (list[dict[str, Level | None]], [{"a": 1, "b": None}], [{"a": Level.LOW, "b": None}]),
        ("list[int]", [1], [1]),
        (Path, "/a", Path("/a")),
        (datetime.timedelta, "PT90S", datetime.timedelta(seconds=90)),
        (datetime.timedelta, datetime.timedelta(1), datetime.timedelta(1)),
        (bytes, "YQ==", b"a"),
        (bytes, b"a", b"a"),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (dict[int, str], {1: "a"}, {1: "a"}),
        (list[int], (1, 2), [1, 2]),
        (datetime.date | datetime.datetime, datetime.date(2026, 1, 1), datetime.date(2026, 1, 1)),
        (list[datetime.date | Level], ["high", "2026-01-01"], [Level.HIGH, datetime.date(2026, 1, 1)]),
        (dict[str, Level | Decimal], {"a": 1, "b": "2"}, {"a": Level.LOW, "b": Decimal(2)}),
        (tuple[Level, uuid.UUID | None], ["high", None], (Level.HIGH, None)),
        (Disk, {"name": "sda", "sizes": [1, 1]}, Disk("sda", {1})),
        (Disk | None, None, None),
        (list[Disk], [{"name": "a", "since": "2026-01-01"}], [Disk("a", since=datetime.date(2026, 1, 1))]),
        (Options, {"deep": True}, {"deep": True}),
        (Place, [1], Place(1)),
        (Small, 5, 5),
    ],
)
def test_values_become_what_the_annotation_says(annotation: Any, sent: Any, got: Any) -> None:
    def function(value: Any) -> Any:
        return value

    function.__annotations__["value"] = annotation
    result = run(function, [sent])
    assert result == got
    assert type(result) is type(got)


@pytest.mark.parametrize(
    ("annotation", "sent", "words"),
    [
        (int, 1e300, "an integer is needed, not a number"),
        (Fan, {"any": "value"}, "a Fan is needed, not an object"),
        (Disk, {"sizes": []}, "missing required field `name`"),
        (Disk, {"name": "a", "sizes": [1, "x"]}, "at .sizes[1]: Expected `int`, got `str`"),
        (Disk, "sda", "Expected `object`, got `str`"),
        (list[Disk], [{"name": 1}], "at [0].name: Expected `str`, got `int`"),
        (Options, {"deep": "yes"}, "at .deep: Expected `bool`, got `str`"),
        (Place, {"x": 1}, "Expected `array`, got `object`"),
        (Small, 11, "Expected `int` <= 10"),
        (datetime.timedelta, 5, "Expected `duration`"),
        (bytes, "?", "Invalid base64"),
        (list[datetime.date | Level], ["x"], "at [0]: Invalid RFC3339 encoded date; or a Level (1, high) is needed"),
        (Level, [1], "a Level (1, high) is needed, not an array"),
        (Level, "LOW", "a Level (1, high) is needed, not 'LOW'"),
        (float, "1", "a number is needed, not a string"),
        (float, True, "a number is needed, not a boolean"),
        (str, 1, "a string is needed, not an integer"),
        (None, 0, "null is needed"),
        (list[int], [1, "x"], "at [1]: Expected `int`, got `str`"),
        (list[int], {"a": 1}, "Expected `array`, got `object`"),
        (dict[str, int], {"a": {}}, "at [...]: Expected `int`, got `object`"),
        (dict[str, int], [], "Expected `object`, got `array`"),
        (tuple[int, str], [1], "Expected `array` of length 2, got 1"),
        (set[Any], [[1]], "unhashable"),
        (int | None, "x", "Expected `int | null`, got `str`"),
        (Literal["on", 1], True, "Expected `int | str`, got `bool`"),
        (Level, "medium", "a Level (1, high) is needed, not 'medium'"),
        (Level, True, "a Level (1, high) is needed, not a boolean"),
        (datetime.date, "tomorrow", "Invalid RFC3339 encoded date"),
        (datetime.date, 5, "Expected `date`, got `int`"),
        (Decimal, "one", "Invalid decimal string"),
        (list[list[int]], [[0], [0, "x"]], "at [1][1]: Expected `int`, got `str`"),
    ],
)
def test_values_of_another_kind_are_refused(annotation: Any, sent: Any, words: str) -> None:
    def function(value: Any) -> Any:
        return value

    function.__annotations__["value"] = annotation
    assert words in refusal(function, [sent])


def by_object(request: framework.Request, x: int = 1) -> str:
    return f"{request.path} {x}"


def in_the_middle(x: int, request: Request, y: int = 2, /, *rest: int) -> str:
    return f"{x} {request.path} {y} {rest}"


def by_hidden_name(*, request: hidden.Request, x: int = 1) -> str:
    return f"{request.path} {x}"


def not_the_request(request: str) -> str:
    return request


def unannotated(request: Any) -> Any:
    return request


def test_the_request_is_injected_where_it_is_asked_for() -> None:
    assert run(by_object, [5]) == "/rpc 5"
    assert run(in_the_middle, [1, 7, 8, 9]) == "1 /rpc 7 (8, 9)"
    assert run(in_the_middle, [1]) == "1 /rpc 2 ()"
    assert run(by_hidden_name, {"x": 4}) == "/rpc 4"
    assert "no argument 'request'" in refusal(by_hidden_name, {"request": "x"})
    assert run(not_the_request, ["text"]) == "text"
    assert run(unannotated, [3]) == 3


@pytest.mark.parametrize(
    ("functions", "error", "words"),
    [
        ([], ValueError, "at least one"),
        ([kill, kill], ValueError, "two functions are called 'kill'"),
        ([lambda: 1], ValueError, "'<lambda>'"),
        ({"a..b": kill}, ValueError, "'a..b'"),
        ({"a.then": kill}, ValueError, "'a.then' cannot be exported"),
        ({"rpc.kill": kill}, ValueError, "keeps names that begin with 'rpc.'"),
        ({"a": kill, "a.b": kill}, ValueError, "'a' is the name of a function and of others"),
        (kill, TypeError, "a list or a mapping"),
        ("kill", TypeError, "a list or a mapping"),
        ({"then": kill}, ValueError, "'then' cannot be exported"),
        ({"_private": kill}, ValueError, "'_private'"),
        ({"__proto__": kill}, ValueError, "'__proto__'"),
        ({"kill": 7}, TypeError, "only functions"),
        ({"f": dict.update}, TypeError, "cannot be read"),
    ],
)
def test_what_cannot_be_exported_is_refused(functions: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words.replace("(", r"\(").replace(".", r"\.")):
        Proxy(functions)


def unreadable(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    pass


def test_an_annotation_that_names_nothing_is_refused() -> None:
    with pytest.raises(TypeError, match="'Nowhere' of 'x' of 'unreadable' cannot be read"):
        Proxy([unreadable])


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_call_limits_are_positive_integers(value: Any) -> None:
    with pytest.raises(ValueError, match=r"CallLimits\.batch"):
        CallLimits(batch=value)


class Disks:
    kind = "ssd"

    class Inner:
        pass

    def __init__(self) -> None:
        self.callback = kill

    def list(self) -> list[str]:
        return ["sda"]

    @staticmethod
    def count() -> int:
        return 1

    @property
    def size(self) -> int:
        raise AssertionError("nobody asked")

    def _hidden(self) -> None:
        pass


def test_objects_and_mappings_export_dotted_names() -> None:
    proxy = Proxy({"kill": kill, "disks": Disks(), "net": {"v6": {"up": kill}, "down": kill}})
    assert sorted(proxy.functions) == ["disks.count", "disks.list", "kill", "net.down", "net.v6.up"]
    assert list(Proxy(Disks()).functions) == ["count", "list"]


def test_a_proxy_names_what_it_exports() -> None:
    app = framework.App([("/rpc$", Proxy([kill, by_object]))])
    assert app.urls.describe()[0]["handler"] == "framework.rpc.Proxy(kill, by_object)"
