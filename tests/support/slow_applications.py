"""Applications that take too long, for limits.request_timeout; the path says how."""

from __future__ import annotations

import os
import signal
import time

from fastcore.errors import RequestTimeout

SEEN = []


def forever():
    while True:
        time.sleep(0.01)


def pieces():
    yield b"begun"
    forever()


def three_pieces():
    for piece in (b"1", b"2", b"3"):
        time.sleep(0.75)
        yield piece


def native(request):
    match request.get("PATH_INFO", "/"):
        case "/forever":
            forever()
        case "/swallows":
            try:
                forever()
            except Exception:
                return b"swallowed"
        case "/catches":
            try:
                forever()
            except RequestTimeout:
                return b"caught"
        case "/twice":
            for _ in range(2):
                try:
                    forever()
                except RequestTimeout as error:
                    SEEN.append(error)
            return b"%d times" % len(SEEN)
        case "/pieces":
            return 200, [], pieces()
        case "/three-pieces":
            return 200, [], three_pieces()
        case "/empty-pieces":
            return 200, [], iter(forever, None)
        case "/never":
            while True:
                try:
                    time.sleep(0.01)
                except BaseException:
                    pass
        case "/stuck":
            sum(range(10**13))  # in C, which looks at no signals
        case "/pid":
            return b"%d" % os.getpid()
        case "/own":
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            return b"mine now"
        case "/short":
            time.sleep(1.5)
            return b"more than the limit"
    return b"quick"
