"""proxy.d.ts: what Python's signatures are in TypeScript, compiled by tsc --strict; a wrong call does not compile."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import uuid
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, NewType, TypedDict

import app_caller
import pytest
import typescript

from framework import App, Request
from framework.rpc import Progress as Step
from framework.rpc import Proxy


class Level(enum.Enum):
    LOW = "low"
    HIGH = "high"


@dataclasses.dataclass
class Disk:
    """One disk."""

    name: str
    size: int
    level: Level = Level.LOW
    parts: list[Disk] = dataclasses.field(default_factory=list)


class Options(TypedDict, total=False):
    deep: bool


class Promise(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Map:
    """A name that JavaScript has, too."""

    at: Promise


Pid = NewType("Pid", int)


def disks(level: Level | None = None) -> list[Disk]:
    """All disks.

    Of one level, where it is given. */ alert(1) /*
    """
    return []


def add(disk: Disk, options: Options, *, later: bool = False) -> None: ...


def kill(pid: Pid, signal: Literal["TERM", 9] = 9) -> bool:
    return True


def kinds(
    when: dt.datetime, day: dt.date, price: Decimal, id: uuid.UUID, data: bytes
) -> tuple[dt.datetime, dt.date, dt.timedelta, Decimal, uuid.UUID, bytes]:
    raise NotImplementedError


def containers(a: dict[str, int], b: dict[int, str], c: set[int], d: tuple[int, ...]) -> dict[Level, list[int | None]]:
    raise NotImplementedError


def words(class_: str, *function: int) -> Map:
    raise NotImplementedError


def reserved(default: int, new: str = "") -> Any: ...


def unannotated(x, y=1):  # type: ignore[no-untyped-def]
    return x


def whoami(request: Request) -> str | None: ...


async def load() -> float:
    return 1.0


async def follow(name: str) -> AsyncIterator[str]:
    yield ""


def copy() -> Iterator[Step | str]:
    yield Step(1)


PROXY = Proxy(
    {
        "disks": {"all": disks, "add": add},
        **{f.__name__: f for f in (kill, kinds, containers, words, reserved, unannotated, whoami, load, follow, copy)},
    }
)

RIGHT = """
import status, { call, connect, Kind, Progress, RemoteError, Tuple, type Disk, type Functions } from "./proxy.mjs";

const data1 = new Uint8Array();
const all: Disk[] = await status.disks.all();
await status.disks.all("high");
await status.disks.all(null);
const level: "low" | "high" = all[0].level;
await status.disks.add({ name: "sda", size: 2n ** 70n, parts: [{ name: "a", size: 1, level: "low" }] }, {});
const killed: boolean = await status.kill(7, "TERM");
const [when, day, long, price, id, data] = await status.kinds(new Date(), "2026-01-01", "1.1", `${1}`, data1);
const texts: string[] = [when.toISOString(), `${day}`, price.toString(), id.kind];
const sum: number = data.length + Number(long);
const made = await status.containers({ a: 1 }, new Map([[1, "a"]]), new Set([1]), [1, 2, 3]);
const first: number | null | undefined = made.high?.[0];
const x: number = (await status.words("a", 1, 2)).at[0];
await status.reserved(1);
await status.unannotated({});
const me: string | null = await status.whoami();
const load: number = await status.load();
for await (const line of status.follow("syslog")) line.toUpperCase();
for await (const item of status.copy()) if (item instanceof Progress) item.done.toFixed();
const other: Functions = connect(status, { timeout: 5, batch: true, progress: (p) => p.text });
const same: boolean = await connect("/status/rpc").kill(1);
const anything: any = await call("/status/rpc", "kill", { pid: 1 });
try { await status.load(); } catch (error) { if (error instanceof RemoteError) error.code.toFixed(); }
"""

WRONG = [
    ("status.kil(7)", "Property 'kil' does not exist"),
    ("status.kill()", "Expected 1-2 arguments, but got 0"),
    ("status.kill('7')", "Argument of type 'string' is not assignable to parameter of type 'number | bigint'"),
    ("status.kill(7, 15)", "not assignable to parameter of type '9 | \"TERM\" | undefined'"),
    ("status.kill(7, 9, 1)", "Expected 1-2 arguments, but got 3"),
    ("status.disks.all('medium')", 'not assignable to parameter of type \'"high" | "low" | null | undefined\''),
    ("status.disks.add({ name: 'a' }, {})", "Property 'size' is missing"),
    ("status.disks.add({ name: 'a', size: 1, sise: 1 }, {})", "'sise' does not exist"),
    (
        "status.disks.add({ name: 'a', size: 1 }, { deep: 1 })",
        "Type 'number' is not assignable to type 'boolean | undefined'",
    ),
    ("status.whoami('me')", "Expected 0 arguments, but got 1"),
    ("status.containers({}, {}, new Set(), [])", "not assignable to parameter of type 'Map<"),
    ("(async () => { const n: number = await status.whoami(); })()", "Type 'string | null' is not assignable"),
    ("(async () => { for await (const n of status.load()) n.x; })()", "never"),
]


@pytest.mark.timeout(300)
def test_right_calls_compile_and_wrong_ones_do_not(tmp_path: Path) -> None:
    declarations = PROXY.declarations()
    assert typescript.errors(tmp_path, declarations, RIGHT) == []
    lines = ['import status from "./proxy.mjs";', *(f"{call};" for call, _ in WRONG)]
    found = typescript.errors(tmp_path, declarations, "\n".join(lines))
    by_line: dict[int, str] = {}
    for error in found:
        if error.startswith("page.mts("):
            number = int(error[len("page.mts(") :].partition(",")[0])
            by_line[number] = by_line.get(number, "") + error
        else:
            by_line[number] += error
    for number, (call, words) in enumerate(WRONG, 2):
        assert words in by_line.get(number, ""), (call, found)
    assert set(by_line) == set(range(2, len(WRONG) + 2))


def test_docstrings_are_comments_and_stay_there() -> None:
    text = PROXY.declarations()
    assert "     * All disks.\n     *\n     * Of one level, where it is given. *\\/ alert(1) /*\n     */\n" in text
    assert "/** One disk. */\nexport interface Disk {" in text
    assert "export interface Map_ {" in text


def test_the_declarations_are_served_beside_the_module() -> None:
    answer = app_caller.call(App([("/rpc$", PROXY)]), "/rpc", query="proxy.d.ts")
    assert answer.text == PROXY.declarations()
    assert answer.get("X-Content-Type-Options") == "nosniff"
