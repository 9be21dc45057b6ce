"""Output of untrusted children: whole lines, printable, bounded, never mixed, however it is cut into reads."""

from __future__ import annotations

import logging
import os
import re
import resource
import socket
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.process.levels import Prefixed
from framework.process.logs import (
    LINES_AT_ONCE,
    LINES_PER_SECOND,
    MAX_LINE_BYTES,
    MAX_QUEUED_BYTES,
    LineBuffer,
    Output,
    RateLimit,
    level_of,
    printable,
)
from framework.process.sinks import Journal, LogError, LogFile

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
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} info    status\[42\] hello", first)
    assert second.endswith(" supervisor hello")


# ---- how urgent


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ("plain", "warning", "plain"),
        ("<3>broken", "error", "broken"),
        ("<9>no level", "warning", "<9>no level"),
        ("<3", "warning", "<3"),
        ("ERROR back end: no", "error", "ERROR back end: no"),
        ("INFO: x", "info", "INFO: x"),
        ("INFORMAL", "warning", "INFORMAL"),
        ("  File x", "debug", "  File x"),
        ("", "warning", ""),
    ],
)
def test_a_line_says_how_urgent_it_is(line: str, level: str, text: str) -> None:
    assert level_of(line, "warning", "debug") == (level, text)


def test_each_line_of_a_record_of_logging_says_how_urgent_it_is() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("app", logging.ERROR, "", 0, "no %s", ("luck",), sys.exc_info())
    first, *rest = Prefixed().format(record).split("\n")
    assert first == "<3>app: no luck"
    assert rest[-1] == "<3>lines"
    assert all(line.startswith("<3>") for line in rest)
    assert Prefixed().format(logging.LogRecord("app", 5, "", 0, "", (), None)) == "<7>app: "


def test_a_rate_of_its_own_and_none_at_all() -> None:
    limit = RateLimit(0.0, 5)
    assert sum(limit.take(0.0) for _ in range(1000)) == 50
    assert sum(limit.take(2.0) for _ in range(1000)) == 10
    assert limit.take_dropped() == 1940
    free = RateLimit(0.0, 0)
    assert all(free.take(0.0) for _ in range(100_000))


# ---- a file


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "site.log"


def file_output(path: Path) -> Output:
    return Output(sink=LogFile(path))


def test_a_file_is_0640_and_appended_to(log: Path) -> None:
    for text in ("one", "two"):
        file_output(log).write("status", 42, text, "error")
    assert log.stat().st_mode & 0o7777 == 0o640
    assert [line.split(" ", 2)[2] for line in log.read_text().splitlines()] == [
        "error   status[42] one",
        "error   status[42] two",
    ]


def test_a_file_that_was_moved_is_opened_again_on_request(log: Path) -> None:
    output = file_output(log)
    output.line("one")
    log.rename(log.with_suffix(".1"))
    output.line("two")
    output.reopen()
    output.line("three")
    assert log.with_suffix(".1").read_text() == "one\ntwo\n"
    assert log.read_text().endswith("supervisor the log was opened again\nthree\n")


def test_where_it_cannot_be_opened_again_the_old_one_goes_on_and_says_so(log: Path) -> None:
    output = file_output(log)
    moved = log.with_suffix(".1")
    log.rename(moved)
    log.mkdir()
    output.reopen()
    output.line("on")
    assert re.search(
        r"error   supervisor the log .* cannot be opened: .*; the old one goes on\non\n", moved.read_text()
    )


def test_no_link_and_no_second_name_leads_to_another_file(log: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    log.symlink_to(victim)
    with pytest.raises(LogError, match="is a symbolic link"):
        LogFile(log)
    log.unlink()
    log.hardlink_to(victim)
    with pytest.raises(LogError, match="second name"):
        LogFile(log)
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(LogError):
        LogFile(log)
    assert victim.read_text() == "precious"


def test_a_folder_by_a_link_of_ones_own_is_found(tmp_path: Path) -> None:
    (tmp_path / "disk" / "logs").mkdir(parents=True)
    (tmp_path / "absolute").symlink_to(tmp_path / "disk")
    (tmp_path / "relative").symlink_to("disk/./logs")
    (tmp_path / "round").symlink_to("round")
    file_output(tmp_path / "absolute" / "logs" / "a.log").line("a")
    file_output(tmp_path / "relative" / ".." / "logs" / "a.log").line("b")
    assert (tmp_path / "disk" / "logs" / "a.log").read_text() == "a\nb\n"
    with pytest.raises(LogError):
        LogFile(tmp_path / "round" / "a.log")
    with pytest.raises(LogError, match="No such file"):
        LogFile(tmp_path / "nowhere" / "a.log")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a link that somebody else made")
def test_a_folder_by_a_link_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk")
    os.lchown(link, 65534, 65534)
    with pytest.raises(LogError, match="symbolic link"):
        LogFile(link / "a.log")
    mine = tmp_path / "theirs.log"
    mine.touch()
    os.chown(mine, 65534, 65534)
    with pytest.raises(LogError, match="belongs to uid 65534"):
        LogFile(mine)


def test_a_full_disk_loses_lines_counts_them_and_begins_anew(log: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As a disk with room for 4,000 bytes: a file that may not become longer (setrlimit(2))."""
    output = file_output(log)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, old[1]))
    try:
        for number in range(100):
            output.line(f"{number:099}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert output.lost == 60
    assert not output.waiting
    output.line("room again")
    lines = log.read_text().splitlines()
    assert lines[:40] == [f"{number:099}" for number in range(40)]
    assert lines[-2:] == ["room again", f"(60 lines lost: {log}: File too large)"]
    assert capfd.readouterr().err == f"sitectl: log {log}: File too large; lines are lost until there is room\n"


def test_a_line_that_a_full_disk_has_cut_ends_before_the_next(log: Path) -> None:
    output = file_output(log)
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, old[1]))
    try:
        output.line("x" * 50)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    output.line("next")
    first, second, _ = log.read_text().splitlines()
    assert (first, second) == ("x" * 10, "next")


# ---- the journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "journal"))
        channel.setblocking(False)
        yield channel


def test_the_journal_gets_its_fields(journal: socket.socket) -> None:
    output = Output(sink=Journal("appliance", journal.getsockname()))
    output.write("status", 42, "hello", "error")
    assert journal.recv(9000).decode().splitlines() == [
        "MESSAGE=hello",
        "PRIORITY=3",
        "SYSLOG_IDENTIFIER=appliance",
        "SITE_PART=status",
        "SYSLOG_PID=42",
    ]
    output.line("two\nlines")
    assert journal.recv(9000).startswith(b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=6\n")


def test_a_journal_that_is_slow_or_started_again_loses_nothing(journal: socket.socket, tmp_path: Path) -> None:
    path = journal.getsockname()
    output = Output(sink=Journal("appliance", path))
    for number in range(1000):
        output.line(str(number))
    assert output.waiting
    received: list[bytes] = []
    while output.waiting:
        received += drained(journal)
        output.pump()
    received += drained(journal)
    os.unlink(path)
    journal.close()
    output.line("1000")
    assert output.waiting
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(path)
        again.setblocking(False)
        output.pump()
        received += drained(again)
    texts = [data.split(b"\n", 1)[0] for data in received]
    assert texts == [b"MESSAGE=%d" % number for number in range(1001)]
    assert output.lost == 0


def drained(channel: socket.socket) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(channel.recv(9000))
        except BlockingIOError:
            return found


def test_no_journal_is_told() -> None:
    with pytest.raises(LogError, match="does not listen on /nonexistent"):
        Journal("appliance", "/nonexistent")


def test_standard_output_that_is_the_journal_says_how_urgent_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    found = os.fstat(writer)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    output = Output(writer)
    output.write("status", 42, "hello", "error")
    output.line("up")
    assert output.where == "standard output, which is the journal"
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
    assert Output(writer).where == "standard output"
    os.close(writer)
    with open(reader, encoding="utf-8") as pipe:
        assert pipe.read() == "<3>status[42] hello\n<6>up\n"


# ---- workers


def test_a_line_in_which_a_worker_ended_does_not_run_into_the_next_ones() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"last words\0\nnext\n\0\n\0") == ["last words", "next"]
    assert buffer.feed(b"\n\n") == [""]
    assert buffer.feed(b"a\0b\n") == ["a\\x00b"]
