"""The scoreboard: what a worker writes is what the reader sees, on both twins; what it scribbles harms nobody."""

from __future__ import annotations

import itertools
import mmap
import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastcore import scoreboard
from fastcore.scoreboard import BUCKETS, HANDLING, IDLE, PAGE, STATES, bucket_limit, bucket_of


@pytest.fixture
def board() -> Iterator[int]:
    number = scoreboard.create(3)
    yield number
    os.close(number)


def make_request(twin: Any, **params: str) -> Any:
    raw = b"".join(
        bytes([len(name), len(value)]) + name.encode() + value.encode("latin-1") for name, value in params.items()
    )
    return twin.request.Request(1, 1, True, raw)


def test_a_new_scoreboard_has_no_workers(board: int) -> None:
    assert scoreboard.read(board) == []


def test_a_worker_is_seen_as_it_says(twin: Any, board: int) -> None:
    page = twin.scoreboard.Page(board, 1, 1000.0)
    page.enter(IDLE, 1001.0, 2)
    [worker] = scoreboard.read(board, 1005.5)
    assert (worker.number, worker.pid, worker.state, worker.seconds, worker.age) == (1, os.getpid(), "idle", 4.5, 5.5)
    assert (worker.connections, worker.requests, worker.url) == (2, 0, "")
    page.begin(make_request(twin, REQUEST_METHOD="GET", REQUEST_URI="/a/b?password=1"), 1006.0)
    [worker] = scoreboard.read(board, 1007.0)
    assert (worker.state, worker.seconds, worker.url) == ("handling", 1.0, "/a/b")
    page.done(0.0015, 1007.5)
    page.enter(IDLE, 1007.5, 1)
    [worker] = scoreboard.read(board, 1008.0)
    assert (worker.requests, worker.state, sum(worker.latencies)) == (1, "idle", 1)
    assert worker.latencies[bucket_of(0.0015)] == 1


def test_a_long_url_is_cut_and_an_odd_one_made_printable(twin: Any, board: int) -> None:
    page = twin.scoreboard.Page(board, 0, 1.0)
    page.begin(make_request(twin, REQUEST_METHOD="GET", REQUEST_URI="/" + "x" * 120 + "\x1b[31m\xff"), 1.0)
    assert scoreboard.read(board, 2.0)[0].url == "/" + "x" * 120 + "?[31m?"
    request = twin.request.Request(1, 1, True, b"\x0b\x80\x00\x01\x00REQUEST_URI" + b"/" + b"y" * 255)
    page.begin(request, 1.0)
    assert scoreboard.read(board, 2.0)[0].url == "/" + "y" * (scoreboard.URL_BYTES - 1)
    page.begin(make_request(twin, REQUEST_METHOD="GET"), 1.0)
    assert scoreboard.read(board, 2.0)[0].url == ""


def test_the_place_of_the_url_may_change_from_request_to_request(twin: Any, board: int) -> None:
    page = twin.scoreboard.Page(board, 0, 1.0)
    orders = [
        {"A": "1", "REQUEST_URI": "/one", "B": "2"},
        {"A": "1", "REQUEST_URI": "/two", "B": "2"},
        {"REQUEST_URI": "/three"},
        {"A": "1", "B": "2", "C": "3", "REQUEST_URI": "/four?x"},
        {"A": "1", "B": "2", "C": "3", "REQUEST_XXX": "/five"},
    ]
    seen = []
    for params in orders:
        page.begin(make_request(twin, **params), 1.0)
        seen.append(scoreboard.read(board, 1.0)[0].url)
    assert seen == ["/one", "/two", "/three", "/four", ""]


def test_the_counts_go_on_with_the_next_worker_of_a_place(twin: Any, board: int) -> None:
    first = twin.scoreboard.Page(board, 0, 10.0)
    first.done(0.001, 10.0)
    scoreboard.clear(board, 0)
    assert scoreboard.read(board) == []
    second = twin.scoreboard.Page(board, 0, 20.0)
    second.done(0.001, 20.0)
    assert scoreboard.read(board, 21.0)[0].requests == 2


def test_the_rate_is_that_of_the_last_seconds(twin: Any, board: int) -> None:
    page = twin.scoreboard.Page(board, 0, 0.0)
    for second in range(100):
        for _ in range(5):
            page.done(0.001, float(second))
    rate = scoreboard.read(board, 99.0)[0].rate
    assert 4.5 < rate < 5.5
    assert scoreboard.read(board, 113.0)[0].rate < rate
    assert scoreboard.read(board, 160.0)[0].rate == 0.0


def test_a_place_that_is_not_there_is_refused(twin: Any, board: int) -> None:
    for number in (-1, 3, 1 << 20):
        with pytest.raises(ValueError, match="there is no place"):
            twin.scoreboard.Page(board, number, 0.0)


def test_its_length_cannot_be_changed(board: int) -> None:
    for length in (0, PAGE, 100 * PAGE):
        with pytest.raises(PermissionError):
            os.ftruncate(board, length)


@given(st.binary(min_size=PAGE, max_size=PAGE) | st.binary(max_size=800))
def test_whatever_a_worker_scribbles_the_reader_gets_bounded_figures(scribbled: bytes) -> None:
    board = scoreboard.create(2)
    try:
        os.pwrite(board, scribbled[:PAGE], 0)
        for worker in scoreboard.read(board, 1e6):
            assert worker.state in STATES[1:]
            assert 0 <= worker.pid <= 1 << 22
            assert 0 <= worker.seconds <= 1e6
            assert 0 <= worker.age <= 1e6
            assert 0 <= worker.rate <= 1e7
            assert worker.requests <= 1 << 53
            assert worker.url.isascii()
            assert worker.url.isprintable()
            assert len(worker.url) <= scoreboard.URL_BYTES
            assert scoreboard.quantile(worker.latencies, 0.99) is None or sum(worker.latencies)
        assert all(worker.number == 0 for worker in scoreboard.read(board))
    finally:
        os.close(board)


def test_a_worker_goes_on_over_its_own_scribbled_page(twin: Any, board: int) -> None:
    page = twin.scoreboard.Page(board, 0, 1.0)
    with mmap.mmap(board, 3 * PAGE) as memory:
        memory[:PAGE] = b"\xff" * PAGE
    page.begin(make_request(twin, REQUEST_URI="/x"), 2.0)
    page.done(1.0, 2.0)
    page.enter(IDLE, 2.0, 0)
    assert scoreboard.read(board, 3.0)[0].state == "idle"


@given(st.floats(min_value=0, max_value=1e5))
def test_a_bucket_holds_what_is_counted_in_it(seconds: float) -> None:
    index = bucket_of(seconds)
    assert 0 <= index < BUCKETS
    if index < BUCKETS - 1:
        assert int(seconds * 1e6) / 1e6 < bucket_limit(index) + 1e-12
    if index:
        assert bucket_limit(index - 1) <= seconds + 1.1e-6


def test_buckets_rise_and_their_limits_are_near() -> None:
    limits = [bucket_limit(index) for index in range(BUCKETS)]
    assert limits == sorted(set(limits))
    assert all(above <= below * 1.26 for below, above in itertools.pairwise(limits[4:]))


@given(st.lists(st.floats(min_value=0, max_value=1e4, allow_nan=False), max_size=30))
def test_both_twins_write_the_same_page(times: list[float]) -> None:
    from fastcore import implementation

    pages = []
    for name in ("pure", "compiled"):
        try:
            twin = implementation.twin(name)  # type: ignore[arg-type]
            module = twin.scoreboard
        except ImportError:
            pytest.skip("FASTCORE_PURE is set: the compiled twin is left out")
        board = scoreboard.create(1)
        page = module.Page(board, 0, 5.0)
        for index, seconds in enumerate(times):
            page.begin(make_request(twin, A="1", REQUEST_URI=f"/{index}?q"), 5.0 + index)
            page.done(seconds, 5.0 + index * 7)
        pages.append(os.pread(board, PAGE, 0))
        os.close(board)
    assert pages[0] == pages[1]


def test_quantiles() -> None:
    counts = [0] * BUCKETS
    assert scoreboard.quantile(counts, 0.5) is None
    counts[bucket_of(0.001)] = 98
    counts[bucket_of(1.0)] = 2
    assert scoreboard.quantile(counts, 0.5) == pytest.approx(0.001, rel=0.3)
    assert scoreboard.quantile(counts, 0.99) == pytest.approx(1.0, rel=0.3)
    assert scoreboard.add_up([counts, counts])[bucket_of(1.0)] == 4
    assert scoreboard.add_up([]) == [0] * BUCKETS


def test_the_layout_is_the_documented_one(twin: Any, board: int) -> None:
    page = twin.scoreboard.Page(board, 2, 7.5)
    page.enter(HANDLING, 8.0, 3)
    found = scoreboard.HEAD.unpack(os.pread(board, scoreboard.HEAD.size, 2 * PAGE))
    assert found[1:7] == (os.getpid(), HANDLING, 3, 0, 8.0, 7.5)
    assert struct.calcsize("=IIIIQddQQQI") == scoreboard.URL_AT
