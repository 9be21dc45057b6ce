"""Output of untrusted children: whole lines, printable, bounded, never mixed, however it is cut into reads."""

from __future__ import annotations

import os
import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from framework.process.logs import (
    LINES_AT_ONCE,
    LINES_PER_SECOND,
    MAX_LINE_BYTES,
    MAX_QUEUED_BYTES,
    LineBuffer,
    Output,
    RateLimit,
    printable,
)

UNSAFE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202e]")


def lines_of(data: bytes, cuts: list[int]) -> list[str]:
    buffer = LineBuffer()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    lines = []
    for start, end in pairwise(edges):
        lines += buffer.feed(data[start:end])
    return lines + buffer.flush()


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_lines_are_the_same_however_the_bytes_arrive(data: bytes, cuts: list[int]) -> None:
    assert lines_of(data, cuts) == lines_of(data, [])


@given(st.binary(max_size=400))
def test_no_line_can_steer_a_terminal_or_begin_another(data: bytes) -> None:
    assert not any(UNSAFE.search(line) for line in lines_of(data, []))


@given(st.lists(st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), max_size=40), max_size=10))
def test_readable_text_stays_as_it_is(texts: list[str]) -> None:
    data = "".join(f"{text}\n" for text in texts).encode()
    assert lines_of(data, [3, 7]) == texts


def test_defect_cve_2024_9026_output_of_workers_has_all_its_bytes_and_no_others_cut_anywhere() -> None:
    """PHP-FPM lost up to four bytes of a line, or took those of another, where a read ended within them."""
    one, two = b"first line of one\nsecond line, of one\n", "a line of two with an é\n".encode()
    for cut in range(len(one) + 1):
        for other_cut in range(len(two) + 1):
            mine, others = LineBuffer(), LineBuffer()
            lines = mine.feed(one[:cut])
            other_lines = others.feed(two[:other_cut])
            lines += mine.feed(one[cut:]) + mine.flush()
            other_lines += others.feed(two[other_cut:]) + others.flush()
            assert lines == ["first line of one", "second line, of one"]
            assert other_lines == ["a line of two with an é"]


def test_a_character_cut_between_two_reads_is_whole() -> None:
    buffer = LineBuffer()
    assert buffer.feed("grü".encode()[:-1]) == []
    assert buffer.feed("grü".encode()[-1:] + b"n\r\n") == ["grün"]


def test_a_line_at_the_limit_is_whole_and_one_byte_more_is_cut() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"x" * MAX_LINE_BYTES + b"\n") == ["x" * MAX_LINE_BYTES]
    assert buffer.feed(b"x" * (MAX_LINE_BYTES + 1) + b"\nnext\n") == ["x" * MAX_LINE_BYTES + " … (1 bytes cut)", "next"]


def test_an_endless_line_takes_no_more_memory_than_the_limit() -> None:
    buffer = LineBuffer()
    for _ in range(100):
        assert buffer.feed(b"y" * 65536) == []
    assert buffer.flush() == [f"{'y' * MAX_LINE_BYTES} … ({100 * 65536 - MAX_LINE_BYTES} bytes cut)"]
    assert buffer.flush() == []


def test_escapes_are_shown() -> None:
    assert printable("\x1b[2J\r\x07 tab\t\u202e") == "\\x1b[2J\\r\\x07 tab\t\\u202e"


def test_the_rate_limit_lets_a_burst_pass_and_counts_the_rest() -> None:
    limit = RateLimit(0.0)
    assert sum(limit.take(0.0) for _ in range(LINES_AT_ONCE + 5)) == LINES_AT_ONCE
    assert limit.take_dropped() == 5
    assert limit.take_dropped() == 0
    assert sum(limit.take(1.0) for _ in range(LINES_AT_ONCE)) == LINES_PER_SECOND
    assert limit.take_dropped() == LINES_AT_ONCE - LINES_PER_SECOND


def test_a_rate_limit_survives_long_silence() -> None:
    limit = RateLimit(0.0)
    assert sum(limit.take(1e9) for _ in range(LINES_AT_ONCE + 1)) == LINES_AT_ONCE


def test_output_never_waits_for_a_reader_and_tells_what_was_lost() -> None:
    reader, writer = os.pipe()
    try:
        output = Output(writer)
        line = "z" * 1000
        for _ in range(2 * MAX_QUEUED_BYTES // len(line)):
            output.line(line)
        assert output.waiting
        received = b""
        while output.waiting:
            received += os.read(reader, 1 << 20)
            output.pump()
        os.close(writer)
        while data := os.read(reader, 1 << 20):
            received += data
    finally:
        os.close(reader)
    *whole, last, end = received.decode().split("\n")
    assert set(whole) == {line}
    assert end == ""
    lost = re.fullmatch(r"\((\d+) lines lost: the reader of this log was too slow\)", last)
    assert lost is not None
    assert len(whole) + int(lost[1]) == 2 * MAX_QUEUED_BYTES // len(line)


def test_output_goes_on_without_a_reader() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    output = Output(writer)
    output.write("name", 1, "text")
    assert not output.waiting
    os.close(writer)


def test_a_line_says_when_who_and_what() -> None:
    reader, writer = os.pipe()
    output = Output(writer)
    output.write("status", 42, "hello")
    output.write("supervisor", None, "hello")
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        first, second = pipe.read().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} status\[42\] hello", first)
    assert second.endswith(" supervisor hello")
