"""Runs the numbered tests and writes docs/conformance.md: each line of the checklist, its tests, what came of them.

    python scripts/conformance.py [--without-live]

A test belongs to line 34 if its name begins with `test_line_34_` (or `test_34_`), to a known defect if it begins with
`test_defect_` and the defect's key; it may lie anywhere below tests/. Fails where a line or a defect has no test, and
where a test fails; the document is written only if none did.
"""

from __future__ import annotations

import platform
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "conformance.md"

CHAPTERS: dict[str, dict[int, str]] = {
    "Framing": {
        1: "a header cut anywhere is the same header",
        2: "content of 65,535 bytes with 255 of padding, which is ignored",
        3: "the reserved byte may be anything",
        4: "another version: told, closed, no application called",
        5: "many records in one read, and reads of one byte",
        6: "output over 65,535 bytes is split, without an empty record in mid-stream",
        7: "all output has version 1, reserved 0 and its request's id",
        8: "END_REQUEST is 8 bytes, in one write with the last STDOUT, and the last byte",
    },
    "Management": {
        9: "GET_VALUES before, during and between requests; known names only, each once",
        10: "an empty GET_VALUES has an empty result",
        11: "MAX_CONNS, MAX_REQS and MPXS_CONNS are true",
        12: "malformed pairs close the connection, and nothing else",
        13: "an unknown type on id 0 is answered by UNKNOWN_TYPE",
        14: "an unknown type on a request's id is ignored",
        15: "GET_VALUES neither closes nor uses up the connection",
        16: "BEGIN_REQUEST, PARAMS, STDIN on id 0 are protocol errors",
    },
    "Requests": {
        17: "ids 1, 32767 and 65535, used again after the end, odd and rising",
        18: "records for ids that are not active are ignored",
        19: "BEGIN_REQUEST on an active id is an error, never merged",
        20: "BEGIN_REQUEST of another length than 8 is an error",
        21: "another role: UNKNOWN_ROLE, its records ignored, KEEP_CONN honoured",
        22: "a second request without multiplexing: CANT_MPX_CONN, the first goes on",
        23: "too many: OVERLOADED, or a 503 page by option",
        24: "without KEEP_CONN closed at once; with it open, after errors and aborts too",
        25: "other flag bits are ignored",
        26: "KEEP_CONN mixed on one connection: active requests finish first",
        27: "answers out of order, fairly interleaved; one slow STDIN stalls nobody",
    },
    "Parameters": {
        28: "all four length forms, 127 and 128, the long form for short lengths",
        29: "a pair cut at every offset; records of 1 to 20 bytes",
        30: "empty names and values, duplicates (the last wins), bytes over 0x7f as latin-1",
        31: "lengths that overrun, 0x7fffffff, a stream that ends within a pair: refused",
        32: "limits on bytes and on count",
        33: "padded and immediately empty PARAMS",
        34: "a header of 70,000 bytes arrives whole",
    },
    "Input": {
        35: "no end of STDIN where there is no body: answered without it",
        36: "an authorizer without STDIN and with an empty one",
        37: "STDIN shorter than CONTENT_LENGTH is seen by the application; longer is cut",
        38: 'CONTENT_LENGTH absent, "", negative, "1,2", huge',
        39: "an answer that does not wait for the body: all of it is drained, no reset",
        40: "100 MB up and back for a client that writes all before it reads",
        41: "each connection costs bounded memory, both ways",
    },
    "Filter": {
        42: "called when STDIN and FCGI_DATA are complete",
        43: "FCGI_DATA_LENGTH, also where it is wrong, and FCGI_DATA_LAST_MOD are seen",
        44: "an early answer drains FCGI_DATA",
        45: "FCGI_DATA for another role is ignored",
    },
    "Output": {
        46: "STDOUT is always terminated, STDERR only where it was used",
        47: "STDERR interleaves and never cuts a head",
        48: "always `Status:`, no HTTP status line; CR and LF in headers refused",
        49: "HEAD, 204, 304 have no body; Content-Length over and under run is noticed",
        50: "a failure before the head is a 500, one after it shows in appStatus",
        51: "each yield is one record, at once",
        52: "an authorizer's 200 with `Variable-*`; any other status is a whole answer",
    },
    "Abort and close": {
        53: "ABORT before the end of PARAMS, in STDIN, while running, after the end, of an unknown id: one END_REQUEST",
        54: "ABORT of one of several leaves the others alone",
        55: "the client goes in mid-request: `close()` is called, nobody dies of SIGPIPE",
        56: "a half-close after the request still gets the whole answer",
        57: "EPIPE on the last END_REQUEST is no news",
    },
    "Process": {
        58: "a listener on descriptor 0 (unix, IPv4, IPv6) and from systemd",
        59: "FCGI_WEB_SERVER_ADDRS: listed, not listed, malformed",
        60: "SIGTERM and SIGUSR1 finish what has begun, status 0; a second signal forces",
        61: "accept() survives EMFILE, ECONNABORTED, EINTR; more than 1,024 descriptors",
        62: "the socket is removed by its owner alone; a stale one replaced; mode and owner set",
        63: "request, header and idle time-outs; max-requests",
        64: "nothing of one request is seen by the next",
    },
}
LINES = {number: words for lines in CHAPTERS.values() for number, words in lines.items()}

DEFECTS = {
    "cve_2025_23016": ("CVE-2025-23016 (libfcgi)", "the sum of two lengths overflowed"),
    "libfcgi_get_values": ("libfcgi", "one name a thousand times in GET_VALUES overflowed the reply"),
    "cve_2012_6687": ("CVE-2012-6687", "select() with descriptors over 1,023"),
    "cve_2011_2766": ("CVE-2011-2766", "the environment of the request before"),
    "cve_2019_11043": ("CVE-2019-11043 (PHP-FPM)", "an empty PATH_INFO moved a pointer before its buffer"),
    "cve_2021_21703": ("CVE-2021-21703 (PHP-FPM)", "the root master trusted memory that workers write"),
    "cve_2024_9026": ("CVE-2024-9026 (PHP-FPM)", "output of workers lost bytes, or got foreign ones"),
    "cve_2014_0185": ("CVE-2014-0185 (PHP-FPM)", "a socket that everybody may connect to"),
    "cve_2015_9253": ("CVE-2015-9253 (PHP-FPM)", "a crashing child is restarted in a busy loop"),
    "cve_2016_5385": ("CVE-2016-5385 (httpoxy)", "the header `Proxy:` becomes HTTP_PROXY"),
    "header_aliases": ("header aliases", "`X-User` and `X_User` are one variable"),
    "cve_2020_24553": ("CVE-2020-24553 (Go)", "a Content-Type is invented"),
    "go_11824": ("Go #11824", "lengths beyond the end of PARAMS"),
    "go_42840": ("Go #42840", "an id is forgotten before the end of its STDIN"),
    "go_6934": ("Go #6934", "ABORT leaves the reader of the body waiting"),
    "go_params": ("Go", "PARAMS without a limit; malformed ones cut silently"),
    "hhvm_2240": ("HHVM #2240", "a crash on ABORT"),
    "hhvm_1690": ("HHVM #1690", "a leak on kept connections"),
    "hhvm_2522": ("HHVM #2522", "the second request is dropped by what claims to multiplex"),
    "uwsgi_2336": ("uWSGI #2336", "an unread body is parsed as the next request"),
    "haproxy_0aeae2305": ("HAProxy 0aeae2305, 598527673", "lengths in 16 bits; records forged in a body"),
    "keep_alive_desync": ("HyperFastCgi #55, cppcms #24", "answers and requests out of step on a kept connection"),
    "php_bug72185": ("PHP bug 72185", "an empty STDERR record"),
    "php_bug76922": ("PHP bug 76922", "closed after GET_VALUES"),
    "php_gh_15395": ("PHP GH-15395", "a request with almost no parameters"),
    "gevent_fastcgi_unknown": ("gevent-fastcgi", 'unknown names of GET_VALUES are answered by "None"'),
    "gevent_fastcgi_16": ("gevent-fastcgi #16", "connections stay in CLOSE_WAIT"),
    "gevent_fastcgi_14": ("gevent-fastcgi #14", "a flood of STDERR"),
    "gevent_fastcgi_10": ("gevent-fastcgi #10", "the master never ends"),
    "gevent_fastcgi_11": ("gevent-fastcgi #11", "an iterator is collected before it is sent"),
}

_LINE = re.compile(r"test_(?:line_)?(\d\d)_")
_DEFINITION = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
COLUMNS = ("compiled", "pure", "")


class Test(NamedTuple):
    """One test function: the file below tests/, and its name."""

    path: str
    name: str


def key_of(name: str) -> int | str | None:
    """The line's number, or the defect's key, that a test belongs to."""
    line = _LINE.match(name)
    if line is not None:
        return int(line[1])
    found = [key for key in DEFECTS if name.startswith(f"test_defect_{key}_")]
    return max(found, key=len) if found else None


def numbered_tests() -> Iterator[Test]:
    """All tests that belong to a line or a defect, read from the sources. Raises SystemExit for a name of neither."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in _DEFINITION.findall(path.read_text("utf-8")):
            key = key_of(name)
            nobodys = key not in LINES if isinstance(key, int) else key is None and name.startswith("test_defect_")
            if nobodys:
                raise SystemExit(f"{path}: {name} belongs to no line of the checklist and no known defect")
            if key is not None:
                yield Test(path.relative_to(ROOT / "tests").as_posix(), name)


def without_test() -> list[int | str]:
    """The lines and defects that no test is named after."""
    covered = {key_of(test.name) for test in numbered_tests()}
    return [key for key in (*LINES, *DEFECTS) if key not in covered]


class Recorder:
    """A pytest plugin: leaves out what has no number, and counts the outcomes of the rest by function and twin."""

    def __init__(self) -> None:
        self.outcomes: dict[Test, dict[str, Counter[str]]] = {}
        self._known: dict[str, tuple[Test, str]] = {}

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        left_out = [item for item in items if key_of(item.originalname) is None]
        items[:] = [item for item in items if key_of(item.originalname) is not None]
        config.hook.pytest_deselected(items=left_out)
        for item in items:
            twin = item.callspec.params.get("twin", "") if hasattr(item, "callspec") else ""
            path = item.path.relative_to(ROOT / "tests").as_posix()
            self._known[item.nodeid] = Test(path, item.originalname), twin

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        test, twin = self._known[report.nodeid]
        self.outcomes.setdefault(test, {}).setdefault(twin, Counter())[report.outcome] += 1


def cell(counts: list[Counter[str]]) -> str:
    """Outcomes in words: `12 passed`; nothing where there are none."""
    total = sum(counts, Counter())
    return ", ".join(f"{total[outcome]} {outcome}" for outcome in ("passed", "failed", "skipped") if total[outcome])


def table(rows: dict[Any, tuple[str, str]], outcomes: dict[Test, dict[str, Counter[str]]]) -> Iterator[str]:
    """Rows of key → (what is written first, words), with tests and outcomes."""
    for key, (first, words) in rows.items():
        tests = sorted(test for test in outcomes if key_of(test.name) == key)
        names = "<br>".join(f"`{test.name}`" for test in tests)
        cells = " | ".join(cell([outcomes[test].get(twin, Counter()) for test in tests]) for twin in COLUMNS)
        yield f"| {first} | {words} | {names} | {cells} |"


def document(outcomes: dict[Test, dict[str, Counter[str]]]) -> str:
    """The whole of docs/conformance.md."""
    counts = [counter for twins in outcomes.values() for counter in twins.values()]
    parts = [
        "# Conformance",
        "",
        "Written by `make conformance` from a run of the tests that are named after a line of the checklist:",
        f"{len(outcomes)} tests, {cell(counts)}, on Python {platform.python_version()}. They run on the compiled and",
        "the pure twin; what is about sockets, through real ones. The last column counts those that know no twins:",
        "through real web servers, and of the supervisor.",
        "",
    ]
    for chapter, lines in CHAPTERS.items():
        parts += [f"## {chapter}", "", "| line | | tests | compiled | pure | others |", "|---|---|---|---|---|---|"]
        parts += table({number: (str(number), words) for number, words in lines.items()}, outcomes)
        parts.append("")
    parts += [
        "## Known defects of others",
        "",
        "Each test asks what the other program failed at.",
        "",
        "| whose | what | tests | compiled | pure | others |",
        "|---|---|---|---|---|---|",
    ]
    parts += table(DEFECTS, outcomes)
    return "\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    """Run the tests and write the document; the exit status."""
    import pytest

    missing = without_test()
    if missing:
        print(f"no test is named after {', '.join(map(str, missing))}", file=sys.stderr)
        return 1
    tests = sorted({test.path for test in numbered_tests()})
    if "--without-live" in arguments:
        tests = [path for path in tests if not path.startswith("live/")]
        arguments = [argument for argument in arguments if argument != "--without-live"]
    recorder = Recorder()
    status = pytest.main(["-q", *(f"tests/{path}" for path in tests), *arguments], plugins=[recorder])
    if status != 0:
        print(f"{DOCUMENT.name} is not written: see above", file=sys.stderr)
        return int(status)
    DOCUMENT.write_text(document(recorder.outcomes), "utf-8")
    print(f"wrote {DOCUMENT.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
