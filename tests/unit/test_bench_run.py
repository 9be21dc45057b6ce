"""What `make bench` does with its figures: settings, rows, targets, drawings, the page; what it reads of the kernel."""

from __future__ import annotations

import importlib
import json
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
SECTIONS = ("hello", "transfer", "memory", "frontends", "startup", "wsgi_profile", "rpc", "streams")


class Modules:
    """The modules of the benchmarks, imported when asked for."""

    def __getattr__(self, name: str) -> ModuleType:
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def bench() -> Iterator[Any]:
    before = set(sys.modules)
    sys.path.insert(0, str(BENCH))
    try:
        yield Modules()
    finally:
        sys.path.remove(str(BENCH))
        for name, module in list(sys.modules.items()):
            if name not in before and str(getattr(module, "__file__", "")).startswith(str(BENCH)):
                del sys.modules[name]


def hello_row(name: str, kept: float | None, each: float) -> dict[str, Any]:
    def summary(rate: float | None) -> dict[str, Any] | None:
        if rate is None:
            return None
        return {"requests_per_second": rate, "spread": 0.02, "cpu_us": 5.0, "p99_us": 90.0, "of_floor": rate / 1000}

    return {"name": name, "label": name, "version": "", "note": "", "kept": summary(kept), "each": summary(each)}


@pytest.fixture
def facts() -> dict[str, Any]:
    machine = {"processor": "P", "processors": 2, "kernel": "6", "python": "3.11", "load": "0.1"}
    settings = {"connections": 8, "seconds": 1.5, "rounds": 5, "size": 1 << 30, "requests": 10_000}
    return {"date": "2026-01-02 03:04 UTC", "machine": machine, "settings": settings, "missing": {}}


def test_the_table_goes_between_its_markers_and_nowhere_else(bench: Any, facts: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- hello:begin -->\nold\n<!-- hello:end -->\nafter\n")
    rows = [hello_row("floor", 1000.0, 500.0), hello_row("other", None, 250.0)]
    result = {**facts, "rows": rows, "missing": {"third": "not there"}}
    for _ in range(2):
        bench.page.write_table(page, "hello", bench.hello.render(result))
    text = page.read_text()
    assert text.startswith("before\n<!-- hello:begin -->\n\n| server |")
    assert text.endswith("<!-- hello:end -->\nafter\n")
    assert "old" not in text
    assert text.count("| floor | 1,000 ± 2 % | 1.000 |") == 1
    assert "| other | – | – | – | – | 250" in text
    assert "Left out: third (not there)." in text
    assert "2026-01-02 03:04 UTC" in text


def test_every_peer_is_told_apart_and_the_floor_comes_first(bench: Any) -> None:
    lists = [
        bench.peers.HELLO,
        bench.peers.transfer_peers(),
        bench.peers.MEMORY,
        bench.peers.FRONTS,
        bench.peers.STARTUP,
    ]
    for peers in lists:
        names = [peer.name for peer in peers]
        assert len(set(names)) == len(names)
    assert [peers[0].name for peers in lists[:2]] == ["floor", "floor"]


def test_the_page_of_the_docs_has_all_markers_and_drawings(bench: Any) -> None:
    page: Path = bench.page.PAGE
    text = page.read_text()
    for name in ("targets", *SECTIONS):
        marker = name.replace("_", "-")
        assert text.count(f"<!-- {marker}:begin -->") == text.count(f"<!-- {marker}:end -->") == 1
    named = {part.partition(")")[0] for part in text.split("](images/")[1:]}
    assert named
    assert all((page.parent / "images" / name).is_file() for name in named)
    assert named >= {f"bench-{name}.svg" for name, _ in bench.page.drawings(bench.page.read())}


def test_the_kept_results_can_be_rendered_again(bench: Any) -> None:
    results = bench.page.read()
    assert set(results) == set(SECTIONS)
    for name, result in results.items():
        assert result["date"] in getattr(bench, name).render(result)
        assert json.loads((bench.toolchain.RESULTS / f"{name.replace('_', '-')}.json").read_text()) == result
    for name, drawing in bench.page.drawings(results):
        assert ElementTree.fromstring(drawing).tag.endswith("svg"), name
    assert bench.targets.render(results).count("\n| ") >= len(bench.targets.TARGETS)


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("64M", 64 << 20), ("2k", 2048), ("1G", 1 << 30)])
def test_sizes(bench: Any, text: str, size: int) -> None:
    assert bench.run.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1M", "1T", "M", "1.5G"])
def test_what_is_no_size(bench: Any, text: str) -> None:
    with pytest.raises(ValueError):
        bench.run.parse_size(text)


def test_quick_is_small_but_for_what_is_named(bench: Any) -> None:
    def settings(*line: str) -> Any:
        return bench.run.settings_of(bench.run._parser().parse_args(line))

    assert settings().size == 1 << 30
    assert settings("--quick").size < settings().size
    quick = settings("--quick", "--size", "1G", "--only", "floor")
    assert (quick.size, quick.rounds, quick.only) == (1 << 30, 1, ("floor",))


ROLLUP = """00400000-7ffd51dfd000 ---p 00000000 00:00 0                              [rollup]
Rss:               10240 kB
Pss:                4096 kB
Shared_Clean:       5120 kB
Shared_Dirty:          0 kB
Private_Clean:        24 kB
Private_Dirty:      3000 kB
"""


def test_memory_is_read_from_the_kernel(bench: Any) -> None:
    assert bench.memory.parse_rollup(ROLLUP) == {"rss": 10240 * 1024, "pss": 4096 * 1024, "private": 3024 * 1024}
    mine = bench.memory.memory_of([importlib.import_module("os").getpid(), 2**22 + 1])
    assert mine["processes"] == 1
    assert 0 < mine["private"] <= mine["pss"] <= mine["rss"]


def test_a_further_worker_is_the_difference_of_the_largest_numbers(bench: Any) -> None:
    assert bench.memory.further({"1": {"pss": 100}, "2": {"pss": 160}, "4": {"pss": 200}}) == 20
    assert bench.memory.further({"1": {"pss": 100}}) is None


CALLGRIND = """\
--------------------------------------------------------------------------------
Ir
--------------------------------------------------------------------------------
1,300 (100.0%)  PROGRAM TOTALS

--------------------------------------------------------------------------------
Ir                file:function
--------------------------------------------------------------------------------
1,000 (76.92%)  ???:_Py_Dealloc [/usr/bin/python3.11]
  150 (11.54%)  ???:__pyx_f_8fastcore_8compiled_7request_7Request_find [/x/request.cpython-311-x86_64-linux-gnu.so]
  100 ( 7.69%)  a/b.c:memcmp'2 [/lib/libc.so.6]
   50 ( 3.85%)  a/b.c:memcmp
"""


def test_callgrinds_list_is_read(bench: Any) -> None:
    assert bench.wsgi_profile.parse(CALLGRIND) == {
        ("_Py_Dealloc", "python3.11"): 1000,
        ("__pyx_f_8fastcore_8compiled_7request_7Request_find", "request"): 150,
        ("memcmp", "libc.so.6"): 150,
    }
    rows, total = bench.wsgi_profile.by_function(
        {("_Py_Dealloc", "python3.11"): 400}, bench.wsgi_profile.parse(CALLGRIND), 10
    )
    assert [(row["function"], row["instructions"]) for row in rows] == [
        ("_Py_Dealloc", 60),
        ("request.Request.find", 15),
        ("memcmp", 15),
    ]
    assert total == 90


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("__pyx_f_8fastcore_8compiled_8response_make_head", "response.make_head"),
        ("__pyx_pw_8fastcore_8compiled_4wsgi_11WSGIAdapter_3__call__", "wsgi.WSGIAdapter.__call__"),
        ("__pyx_tp_new_vectorcall_8fastcore_8compiled_7request_Request", "request.Request"),
        ("PyDict_Copy", "PyDict_Copy"),
        ("0x00000000004fee40", "0x00000000004fee40"),
    ],
)
def test_cythons_names_become_those_of_the_source(bench: Any, name: str, readable: str) -> None:
    assert bench.wsgi_profile.readable(name) == readable


def hello(**rates: float) -> dict[str, Any]:
    return {"hello": {"rows": [hello_row(name.replace("_", "-"), rate, rate) for name, rate in rates.items()]}}


def target(bench: Any, **fields: Any) -> Any:
    rate = bench.targets.rate
    given = {"case": "c", "wanted": "w", "ours": rate("ours", "kept"), "factor": 2, "other": rate("other", "kept")}
    return bench.targets.Target(**{**given, **fields})


def test_a_target_is_reached_at_its_factor(bench: Any) -> None:
    assert target(bench).judge(hello(ours=200, other=100)) == ("2.00 × (200 to 100 /s)", True, "")
    text, enough, why = target(bench).judge(hello(ours=199, other=100))
    assert (text, enough) == ("1.99 × (199 to 100 /s)", False)
    assert "2 × 100 = 200" in why


def test_a_target_above_the_floor_is_told_as_one(bench: Any) -> None:
    above = target(bench, floor=bench.targets.rate("floor", "kept"))
    _, enough, why = above.judge(hello(ours=140, other=100, floor=150))
    assert not enough
    assert "2 × 100 = 200 /s is above the C floor of the same run, 150 /s" in why
    assert "1.5 × that server" in why
    assert "0.93 of the floor" in why


def test_a_target_of_less_processor_time_or_memory(bench: Any) -> None:
    assert target(bench, least=True, unit="µs").judge(hello(ours=50, other=100))[:2] == (
        "2.00 × less (50.0 to 100.0 µs)",
        True,
    )
    assert target(bench, least=True).judge(hello(ours=51, other=100))[1] is False
    assert target(bench, other=None, factor=8, unit="MB").judge(hello(ours=8))[:2] == ("8.00 MB", True)
    assert target(bench, other=None, factor=8, unit="MB", why="x").judge(hello(ours=9)) == ("9.00 MB", False, "x")


def test_what_was_not_measured_is_neither_reached_nor_missed(bench: Any) -> None:
    for results in ({}, hello(ours=1), hello(other=1)):
        assert target(bench).judge(results) == ("not measured", None, "")
    assert "not measured | – |" in bench.targets.render({})


def test_a_drawing_escapes_its_labels_and_tells_what_lies_beyond_it(bench: Any) -> None:
    plots = bench.plots
    drawing = plots.bars(
        "a < b", "MB & s", [plots.Bar("<x>", 10, "ours")], [plots.Mark("near", 12), plots.Mark("far", 99)]
    )
    tree = ElementTree.fromstring(drawing)
    texts = ["".join(text.itertext()) for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["a < b", "MB & s", "<x>", "10", "near: 12", "far: 99, beyond this drawing"]
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}line"))) == 1


@pytest.mark.parametrize("size", [1, 65536, 17 * 65536, 17 * 65536 * 2 + 12_345])
@pytest.mark.parametrize("stride", [1, 4093])
@pytest.mark.parametrize("piece", [1 << 16, 50_021])
def test_the_checksum_does_not_depend_on_how_a_body_is_cut(bench: Any, size: int, stride: int, piece: int) -> None:
    class Body:
        """A body that gives fewer bytes than asked for."""

        def __init__(self, data: bytes) -> None:
            self.left = memoryview(data)

        def read(self, size: int) -> bytes:
            data, self.left = self.left[: min(size, piece)], self.left[min(size, piece) :]
            return bytes(data)

    transfers = bench.transfers
    pattern = b"".join(transfers.BLOCKS)
    body = b"".join(transfers._blocks(size))
    assert transfers._check(Body(body), stride).decode() == transfers.expected_answer(pattern, size, stride)
    if size > 5 * stride:
        swapped = body[:stride] + bytes([body[stride] ^ 1]) + body[stride + 1 :]
        assert transfers._check(Body(swapped), stride).decode() != transfers.expected_answer(pattern, size, stride)


def test_a_round_is_the_best_quarter_of_its_turns(bench: Any) -> None:
    turns = [100.0, 40.0, 98.0, 60.0, 55.0, 70.0, 30.0, 99.0]
    assert bench.measuring.best_of_turns(turns) == 99.5
    assert bench.measuring.best_of_turns(turns, lowest=True) == 35.0
    assert bench.measuring.best_of_turns([7.0]) == 7.0
    assert bench.measuring.by_rounds([*turns, *[2 * turn for turn in turns]], 8) == [99.5, 199.0]


def test_a_disturbed_round_does_not_move_a_ratio(bench: Any) -> None:
    results = hello(ours=100, other=100)
    for row, rounds in zip(results["hello"]["rows"], ([150, 50, 151], [100, 33, 100]), strict=True):
        row["kept"]["rounds"] = rounds
    text, enough, _ = target(bench, factor=1.5).judge(results)
    assert (text, enough) == ("1.51 × ± 0 % (100 to 100 /s)", True)
    results["hello"]["rows"][0]["kept"]["rounds"] = [150, 50]  # of another run: nothing to pair
    assert target(bench, factor=1).judge(results)[0] == "1.00 × (100 to 100 /s)"


def test_what_the_line_below_a_table_says_of_rounds(bench: Any) -> None:
    told = bench.measuring.told_rounds
    assert told({"rounds": 5, "turns": 8, "seconds": 1.0}) == "medians of 5 rounds of 8 turns of 0.125 s"
    assert told({"rounds": 3, "seconds": 1.5}) == "medians of 3 rounds of 1.5 s"


def test_slow_transfers_have_fewer_turns_and_those_before_the_timing_do_not_count(bench: Any) -> None:
    def turn(rate: float) -> dict[str, Any]:
        return {"rate": rate, "cpu": 1 / rate, "seconds": 1.0, "error": ""}

    peer = bench.peers.transfer_peers()[0]
    rounds = [[turn(9999)], [turn(10), turn(30), turn(20)], [turn(31)], [turn(5), turn(32)]]
    (row,) = bench.transfer.make_rows([peer], {(peer.name, "up"): rounds})
    assert (row["up"]["mb_per_second"], row["up"]["rounds"], row["file"]) == (31, [30, 31, 32], None)


def test_the_interval_of_a_median_takes_no_distribution_for_granted(bench: Any) -> None:
    assert bench.streams.interval([float(number) for number in range(1, 26)]) == (8.0, 18.0)
    assert bench.streams.interval([7.0]) == (7.0, 7.0)
    assert bench.streams.interval([]) == (0.0, 0.0)
    turns = [{"p99_us": value} for value in (100.0, 200.0, 100.0)]
    found = bench.streams.summary("p99_us", turns, [{"p99_us": 300.0}, {"p99_us": 150.0}])
    assert (found["without"], found["with"], found["ratio"]) == (100.0, 225.0, 1.5)
