"""Values keep their kind on the way to JavaScript and back: framework.rpc.wire and client.js, in Node."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import math
import re
import types
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import rpc_node
from hypothesis import example, given
from hypothesis import strategies as st

from framework.rpc import Progress, RemoteError, register
from framework.rpc.errors import Mismatch
from framework.rpc.wire import pack, unpack

pytestmark = rpc_node.needs_node


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rpc_node.Echo]:
    process = rpc_node.Echo(tmp_path_factory.mktemp("echo"))
    yield process
    process.close()


# JavaScript's text is UTF-16 and JSON's has no half of a pair; "?" is sent for one (docs/rpc.md).
odd_words = ["$", "$set", "$$set", "__proto__", "constructor", "toJSON", "then", "\u2028"]
text = st.text(max_size=8) | st.sampled_from(odd_words)
zones = st.none() | st.builds(dt.timezone, st.timedeltas(dt.timedelta(hours=-23), dt.timedelta(hours=23)))
instants = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=zones)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | text
    | st.binary(max_size=20)
    | instants
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.builds(Progress, st.integers(0, 9), st.none() | st.integers(0, 9), text)
)
hashables = st.recursive(
    scalars.filter(lambda value: value == value),
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    scalars | hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(text, inner, max_size=3)
        | st.dictionaries(hashables, inner, max_size=3)
    ),
    max_leaves=15,
)


def same(a: Any, b: Any, order: Callable[[list[Any]], list[Any]] = list) -> bool:
    """Equal and of the same kind, but for numbers: JavaScript has one kind of them, and 1.0 is written 1 there.

    `order`: the keys of a sent dict → the order in which they have to come back.
    """
    if type(a) is bool or type(b) is bool:
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or (a != a and b != b)
    if isinstance(a, set | frozenset):
        return isinstance(b, set | frozenset) and a == b
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(one, other, order) for one, other in zip(a, b, strict=True))
    if isinstance(a, dict):
        return order(list(a)) == list(b) and all(same(a[key], b[key], order) for key in a)
    if isinstance(a, dt.datetime):
        return a == b and (a.tzinfo is None) is (b.tzinfo is None)
    return bool(a == b)


def javascript_order(keys: list[Any]) -> list[Any]:
    """An object's keys: array indices first, ascending (ECMA-262, OrdinaryOwnPropertyKeys); a Map keeps all."""
    if not all(type(key) is str for key in keys):
        return keys
    indices = [key for key in keys if re.fullmatch("0|[1-9][0-9]{0,9}", key) and int(key) < 2**32 - 1]
    return sorted(indices, key=int) + [key for key in keys if key not in indices]


@given(values)
@example({"": None, "0": None})
@example([{"b": 1, "10": ({"1": 2, "0": {3}},), "9": 3, "01": 4, "4294967295": 5, "4294967294": 6}])
@example({"b": 1, "0": 2, None: 3})
def test_anything_goes_to_javascript_and_comes_back_equal(echo: rpc_node.Echo, value: Any) -> None:
    assert same(value, echo.value(value), javascript_order), pack(value)


@given(values)
def test_the_encoding_loses_nothing(value: Any) -> None:
    assert same(value, unpack(orjson.loads(orjson.dumps(pack(value)))))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_plain_json_is_sent_as_it_is_but_for_what_looks_like_a_tag(echo: rpc_node.Echo, value: Any) -> None:
    packed = pack(value)
    line = orjson.dumps(packed)
    if b'{"$' not in orjson.dumps(value):
        assert packed is value
    assert orjson.loads(echo.text(line)) == packed


def test_what_the_kinds_are_in_javascript(tmp_path: Path) -> None:
    asia = dt.timezone(dt.timedelta(hours=5, minutes=30))
    sent = {
        "aware": dt.datetime(2026, 2, 28, 10, 0, 0, 123456, asia),
        "naive": dt.datetime(2026, 2, 28, 10, 0),
        "set": {1},
        "map": {1: "a", (2, 3): "b"},
        "bytes": b"\x00\xff",
        "big": 2**53,
        "nan": math.nan,
        "inf": -math.inf,
        "tuple": (1, [2]),
        "date": dt.date(2026, 2, 28),
        "duration": dt.timedelta(minutes=1, microseconds=5),
        "decimal": Decimal("1.10"),
        "uuid": uuid.UUID(int=1),
        "error": ValueError("no"),
        "progress": Progress(1, 2, "half"),
        "looks": {"$set": [1]},
        "none": None,
    }
    line = orjson.dumps(pack(sent)).decode()
    served = rpc_node.module.read_client().encode()
    result = rpc_node.run(
        tmp_path,
        served,
        f"""
        import {{ decode, encode, Kind, Progress, RemoteError, Tuple }} from "./served.mjs";
        const v = decode({line!r});
        const kinds = Object.fromEntries(Object.entries(v).map(([k, x]) => [k, x?.constructor?.name ?? String(x)]));
        v.aware.setTime(0);
        console.log(JSON.stringify({{
          kinds, aware: v.aware.iso, iso: encode(v.aware), naive: v.naive.getHours(), map: [...v.map.keys()],
          bytes: [...v.bytes], big: `${{v.big}}`, nan: `${{v.nan}} ${{v.inf}}`, date: `${{v.date}}`, kind: v.date.kind,
          seconds: Number(v.duration), price: `${{v.decimal}}`, text: JSON.stringify([v.uuid]),
          error: [v.error instanceof Error, v.error.name, v.error.type, v.error.message, v.error.code],
          progress: v.progress, looks: v.looks, none: v.none,
        }}));
        """,
    )
    assert result == {
        "kinds": {
            "aware": "Date",
            "naive": "Date",
            "set": "Set",
            "map": "Map",
            "bytes": "Uint8Array",
            "big": "BigInt",
            "nan": "Number",
            "inf": "Number",
            "tuple": "Tuple",
            "date": "Kind",
            "duration": "Kind",
            "decimal": "Kind",
            "uuid": "Kind",
            "error": "RemoteError",
            "progress": "Progress",
            "looks": "Object",
            "none": "null",
        },
        "aware": "2026-02-28T10:00:00.123456+05:30",
        "iso": '{"$datetime":"1970-01-01T00:00:00.000Z"}',  # changed, so its text is no longer true
        "naive": 10,
        "map": [1, [2, 3]],
        "bytes": [0, 255],
        "big": "9007199254740992",
        "nan": "NaN -Infinity",
        "date": "2026-02-28",
        "kind": "date",
        "seconds": 60.000005,
        "price": "1.10",
        "text": '["00000000-0000-0000-0000-000000000001"]',
        "error": [True, "ValueError", "ValueError", "no", 0],
        "progress": {"done": 1, "total": 2, "text": "half"},
        "looks": {"$set": [1]},
        "none": None,
    }


@pytest.mark.parametrize(
    ("script", "value"),
    [
        ("new Date(1.5)", dt.datetime(1970, 1, 1, 0, 0, 0, 1000, dt.UTC)),
        ("new Set([[1, 2], new Set([3])])", {(1, 2), frozenset({3})}),
        ("new Map([['a', 1]])", {"a": 1}),
        ("2n ** 70n", 2**70),
        ("5n", 5),
        ("-0", 0),
        ("2 ** 60", 2.0**60),
        ("1e300", 1e300),
        ("1.5", 1.5),
        ("2 ** 53 - 1", 2**53 - 1),
        ("[undefined, () => 1, NaN]", [None, None, math.nan]),
        ("({ a: undefined, b: null })", {"b": None}),
        ("({ $a: 1, b: undefined })", {"$a": 1}),
        ("({ $a: 1, b: { toJSON() {} } })", {"$a": 1}),
        ("({ $a: 1, b: 2 })", {"$a": 1, "b": 2}),
        ("({ $: { $$: [] } })", {"$": {"$$": []}}),
        ("new Uint8Array([1, 2])", b"\x01\x02"),
        ("Buffer.from('ab')", b"ab"),
        ("new rpc.Kind('timedelta', 90)", dt.timedelta(seconds=90)),
        ("new rpc.Kind('decimal', '1.10')", Decimal("1.10")),
        ("rpc.Tuple.of(1, 2)", (1, 2)),
        ("new rpc.Progress(1)", Progress(1)),
        ('JSON.parse(\'{"__proto__": {"$x": 1}}\')', {"__proto__": {"$x": 1}}),
    ],
)
def test_what_javascript_sends(tmp_path: Path, script: str, value: Any) -> None:
    process = rpc_node.Echo(tmp_path, script)
    try:
        got = unpack(orjson.loads(process.text(b"null")))
    finally:
        process.close()
    assert same(value, got)


def test_an_error_goes_both_ways(tmp_path: Path) -> None:
    process = rpc_node.Echo(tmp_path, "Object.assign(new TypeError('x is no y'), { code: 3 })")
    try:
        error = unpack(orjson.loads(process.text(b"null")))
    finally:
        process.close()
    assert isinstance(error, RemoteError)
    assert (error.type, str(error), error.code) == ("TypeError", "x is no y", 3)
    assert "Traceback" not in repr(pack(error))


PARIS_BEFORE_1911 = dt.timezone(dt.timedelta(seconds=561))


class Color(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Disk:
    name: str
    sizes: set[int]


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (Color.RED, "red"),
        (Level.LOW, 1),
        ({Color.RED: 1}, {"red": 1}),
        (Point(1, 2), {"$tuple": [1, 2]}),
        (Disk("sda", {1}), {"name": "sda", "sizes": {"$set": [1]}}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": b""}), {"a": {"$bytes": ""}}),
        (collections.deque([1]), [1]),
        (range(2), [0, 1]),
        ({"a": 1}.keys(), {"$set": ["a"]}),
        (Path("/a"), "/a"),
        (bytearray(b"a"), {"$bytes": "YQ=="}),
        (type("Name", (str,), {})("n"), "n"),
        (dt.datetime(1900, 1, 1, tzinfo=PARIS_BEFORE_1911), {"$datetime": "1899-12-31T23:50:39+00:00"}),
    ],
)
def test_what_is_like_a_kind_is_sent_as_that_kind(value: Any, packed: Any) -> None:
    made = pack(value)
    assert made == packed
    assert type(made) is type(packed)


@pytest.mark.parametrize(
    "tag",
    [
        {"$nope": 1},
        {"$": 1},
        {"$set": 1},
        {"$set": [{}]},
        {"$set": [1, True]},
        {"$map": [[1, 2], [1.0, 3]]},
        {"$map": [[1]]},
        {"$map": {"a": 1}},
        {"$int": "x"},
        {"$int": 7},
        {"$int": "9" * 5000},
        {"$int": "١"},
        {"$float": "1_0"},
        {"$bytes": "a"},
        {"$bytes": "YQ==\n"},
        {"$datetime": "soon"},
        {"$datetime": None},
        {"$date": "2026-02-30"},
        {"$date": "20260228"},
        {"$time": "25:00"},
        {"$timedelta": "1e3"},
        {"$timedelta": "9" * 15},
        {"$decimal": "one"},
        {"$decimal": 1},
        {"$uuid": "{00000000-0000-0000-0000-000000000001}"},
        {"$error": "no"},
        {"$progress": {"__class__": 1}},
    ],
)
def test_a_tag_that_is_none_is_refused(tag: Any) -> None:
    with pytest.raises(Mismatch):
        unpack([tag])


def test_what_has_no_kind_cannot_be_sent() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(RecursionError):
        pack(loop)
    for value in (object(), 10**5000, lambda: 1, 1j):
        with pytest.raises(TypeError, match="cannot be sent"):
            pack(value)


class Version:
    def __init__(self, major: int, minor: int) -> None:
        self.both = (major, minor)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and other.both == self.both


@dataclasses.dataclass
class Mark:
    at: dt.date


class Mode(enum.Enum):
    ON = (1, "on")


def test_registered_classes_keep_their_kind(echo: rpc_node.Echo, tmp_path: Path) -> None:
    register(Version, encode=lambda v: list(v.both), decode=lambda parts: Version(*parts))
    register(Mark)
    register(Mode, "SwitchMode")
    value = [Version(1, 2), Mark(dt.date(2026, 1, 1)), Mode.ON, {"v": {"x": Version(3, 4)}}]
    assert pack(Version(1, 2)) == {"$Version": [1, 2]}
    assert echo.value(value) == value  # a page that does not know them has `Kind` for them
    with pytest.raises(Mismatch, match=r"no \$Version"):
        unpack({"$Version": [1]})
    served = rpc_node.module.read_client().encode()
    script = """
    import { decode, encode, register } from "./served.mjs";
    class Version { constructor(major, minor) { Object.assign(this, { major, minor }); } }
    register("Version", Version, (v) => [v.major, v.minor], (parts) => new Version(...parts));
    const { major, minor, constructor } = decode('{"$Version":[1,2]}');
    console.log(JSON.stringify([major, minor, constructor.name, encode(new Version(5, 6))]));
    """
    assert rpc_node.run(tmp_path, served, script) == [1, 2, "Version", '{"$Version":[5,6]}']


@pytest.mark.parametrize(("kind", "name"), [(Version, "set"), (Version, "A b"), (Disk, "Version")])
def test_a_tag_belongs_to_one_class(kind: type, name: str) -> None:
    register(Version, encode=str, decode=str)
    with pytest.raises(ValueError, match="tag"):
        register(kind, name)


def test_a_class_without_a_form_of_its_own_needs_one() -> None:
    with pytest.raises(TypeError, match="needs encode="):
        register(type("Odd", (), {}))
