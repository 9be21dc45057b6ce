"""What each worker of a back end does, in memory that it shares with whoever watches it.

A scoreboard is an unnamed file in memory with one page for each worker. A worker maps its own page alone and writes
there without a lock (fastcore.pure.scoreboard, fastcore.compiled.scoreboard); whoever made the file reads copies of the
pages and believes nothing in them: every number is bounded, every text made printable, and no page can be cut off. What
a worker scribbles can make its own figures wrong, and no other's.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import time

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    from collections.abc import Iterable
    from dataclasses import dataclass
else:
    from fastcore.values import dataclass

PAGE = mmap.PAGESIZE
"""Bytes of one worker's part."""

MAX_WORKERS = 1024

STATES = ("none", "starting", "idle", "reading", "handling", "writing", "ending")
"""none: no worker has this place. reading: a request has not come completely. handling: the application has it, or is
awaited. writing: an answer waits for its reader. ending: it finishes what has begun, then it ends."""
NONE, STARTING, IDLE, READING, HANDLING, WRITING, ENDING = range(len(STATES))
BUSY = frozenset(("reading", "handling", "writing"))

# The layout of a page; the twins know it too. Times are seconds of the monotonic clock.
HEAD = struct.Struct(
    "=IIIIQddQQQI"
)  # serial, pid, state, connections, requests, since, born, window, before, at, length
URL_AT = 68
URL_BYTES = 188
"""Bytes of a URL that are kept; the rest is cut."""
BUCKETS_AT = 256
BUCKETS = 128
_COUNTS = struct.Struct(f"={BUCKETS}I")

WINDOW = 16
"""Seconds. The rate is that of the running window and the one before."""

SCANNED = 32
"""How many of its connections a worker looks at to say what it waits for."""

_TRIES = 3


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker as its page says it, checked.

    number       its place, from 0
    pid          what it says its process is; 0 where it says nonsense
    state        one of STATES
    seconds      for how long it is in this state
    age          seconds since it began
    connections  open ones
    requests     answered, by all workers that have had this place
    rate         requests a second in the last 16 to 32 seconds
    url          of the request that it handles or has handled last, without its query, cut to 188 bytes
    latencies    how many requests took how long: `bucket_limit(index)` seconds at most
    """

    number: int
    pid: int
    state: str
    seconds: float
    age: float
    connections: int
    requests: int
    rate: float
    url: str
    latencies: tuple[int, ...]


def create(workers: int) -> int:
    """A descriptor of a scoreboard for so many workers, whose length nobody can change (memfd_create(2), fcntl(2)).

    Raises ValueError, and OSError where there is no memory or no descriptor left.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"a scoreboard is for 1 to {MAX_WORKERS} workers, not {workers}")
    number = os.memfd_create("scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(number, workers * PAGE)
        fcntl.fcntl(number, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(number)
        raise
    return number


def check_place(descriptor: int, number: int) -> None:
    """Raise ValueError where a scoreboard has no page of this number."""
    pages = os.fstat(descriptor).st_size // PAGE
    if not 0 <= number < pages:
        raise ValueError(f"the scoreboard has {pages} places, there is no place {number}")


def clear(descriptor: int, number: int) -> None:
    """The worker of this place has ended: it has no process, no connections and does nothing; the counts stay."""
    os.pwrite(descriptor, struct.pack("=III", 0, NONE, 0), number * PAGE + 4)


def read(descriptor: int, now: float | None = None, *, ended: bool = False) -> list[Worker]:
    """All workers that there are. Reads copies, so no writer can change what has been checked.

    now    seconds of the monotonic clock
    ended  also the places whose worker has ended, with the state "none": their counts never go back

    >>> [worker.state for worker in read(scoreboard)]
    ['idle', 'handling']
    """
    found = []
    for number in range(min(os.fstat(descriptor).st_size // PAGE, MAX_WORKERS)):
        worker = _read_page(descriptor, number, time.monotonic() if now is None else now)
        if worker is not None and (ended or worker.state != STATES[NONE]):
            found.append(worker)
    return found


def _read_page(descriptor: int, number: int, now: float) -> Worker | None:
    length = BUCKETS_AT + _COUNTS.size
    url = b""
    for _ in range(_TRIES):  # a URL that is being written has an odd serial, or another one when read again
        page = os.pread(descriptor, length, number * PAGE)
        if len(page) < length:
            return None
        serial, *_, url_length = HEAD.unpack_from(page)
        again = os.pread(descriptor, 4, number * PAGE)
        if not serial & 1 and again == page[:4]:
            url = page[URL_AT : URL_AT + min(url_length, URL_BYTES)]
            break
    _, pid, state, connections, requests, since, born, window, before, at, _ = HEAD.unpack_from(page)
    if state >= len(STATES):
        return None
    return Worker(
        number=number,
        pid=pid if pid <= 1 << 22 else 0,
        state=STATES[state],
        seconds=_passed(since, now),
        age=_passed(born, now),
        connections=min(connections, 1 << 20),
        requests=min(requests, 1 << 53),
        rate=_rate(requests, window, before, at, _passed(born, now), now),
        url="".join(chr(byte) if 32 < byte < 127 else "?" for byte in url),
        latencies=_COUNTS.unpack_from(page, BUCKETS_AT),
    )


def _passed(since: float, now: float) -> float:
    """Seconds from then to now; 0 for a time that cannot be (a comparison with NaN is false)."""
    return now - since if 0.0 <= since <= now else 0.0


def _rate(requests: int, window: int, before: int, at: int, age: float, now: float) -> float:
    """Requests a second since the start of the window before the running one."""
    current = int(now) // WINDOW
    if window == current:
        counted, span = requests - before, now - (current - 1) * WINDOW
    elif window == current - 1:  # nothing has come since the running one began
        counted, span = requests - at, now - (current - 1) * WINDOW
    else:
        return 0.0
    rate = counted / max(min(span, age), 1.0)
    return rate if 0.0 <= rate <= 1e7 else 0.0


def bucket_of(seconds: float) -> int:
    """The bucket that a request of this length is counted in: four for each doubling, the first of a microsecond."""
    micro = int(seconds * 1e6) if seconds > 0 else 0
    if micro < 4:
        return micro
    power = micro.bit_length() - 1
    return min((power - 1) * 4 + (micro >> (power - 2) & 3), BUCKETS - 1)


def bucket_limit(index: int) -> float:
    """The seconds below which the requests of a bucket stayed.

    >>> bucket_limit(bucket_of(0.0015))
    0.001536
    """
    if index < 4:
        return (index + 1) / 1e6
    power, quarter = index // 4 + 1, index % 4
    return (5 + quarter << power - 2) / 1e6


def add_up(histograms: Iterable[Iterable[int]]) -> list[int]:
    """The latencies of several workers in one."""
    return [sum(counts) for counts in zip(*histograms, strict=True)] or [0] * BUCKETS


def quantile(latencies: Iterable[int], part: float) -> float | None:
    """Seconds within which this part of the requests was answered (a quarter more at most); None where there are none.

    >>> quantile(worker.latencies, 0.99)
    0.0035
    """
    return quantile_of([(bucket_limit(index), count) for index, count in enumerate(latencies)], part)


def quantile_of(counts: Iterable[tuple[float, int]], part: float) -> float | None:
    """The same of pairs (seconds at most, how many), in rising order."""
    known = [(limit, count) for limit, count in counts if count > 0]
    wanted = part * sum(count for _, count in known)
    for limit, count in known:
        wanted -= count
        if wanted <= 0:
            return limit
    return None
