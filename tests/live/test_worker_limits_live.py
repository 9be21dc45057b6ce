"""What a worker of a site may take, and what happens to one that takes more: time, memory, requests."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_site import RunningSite, discard, eventually, open_folder, running_site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")

APPLICATION = """\
import os, time

kept = []

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sleep":
        time.sleep(float(environ["QUERY_STRING"]))
    elif path == "/never":
        while True:
            try:
                time.sleep(0.01)
            except BaseException:
                pass
    elif path == "/grow":
        kept.append(bytearray(os.urandom(1) * (int(environ["QUERY_STRING"]) << 20)))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""


@pytest.fixture(scope="module")
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.write_code("limited.py", APPLICATION)
    site.add_backend("timed", application="limited:app", request_timeout="1 s", slow_request="100 ms", workers=2)
    site.add_backend("single", application="limited:app", request_timeout=1)
    site.add_backend("heavy", application="limited:app", max_memory="96 MiB")
    site.add_backend("counted", application="limited:app", max_requests=10)
    site.add_backend("tiny", application="limited:app", max_memory="1 MiB")
    try:
        with running_site(site):
            yield site
    finally:
        discard(folder)


def test_a_call_that_takes_too_long_is_a_504_and_its_stack_is_logged(site: RunningSite) -> None:
    assert site.get("/timed/sleep?60")[0] == 504
    said = eventually(
        "the log tells it", lambda: "a call took longer than 1 s: GET '/timed/sleep'" in site.said() and site.said()
    )
    assert re.search(r"a call takes longer than 0.1 s: GET '/timed/sleep'", said)
    assert re.search(r'limited.py", line 8, in app', said)


@pytest.mark.parametrize("backend", ["timed", "single"])
def test_a_worker_that_cannot_be_stopped_is_replaced_and_the_client_gets_an_error(
    site: RunningSite, backend: str
) -> None:
    before = site.text(f"/{backend}/")
    assert site.get(f"/{backend}/never")[0] in (500, 502, 503, 504)
    for _ in range(4):
        assert site.get(f"/{backend}/")[0] == 200
    eventually(
        "its stack is in the log", lambda: re.search(rf"{backend}(?:/\d+)?\[\d+\] Timeout \(0:00:0", site.said())
    )
    pids = {worker["pid"] for worker in site.part(backend)["workers"]}
    assert before.isdigit()
    assert pids


def test_a_worker_that_has_used_too_much_memory_finishes_and_is_replaced(site: RunningSite) -> None:
    before = site.text("/heavy/")
    assert site.text("/heavy/") == before
    assert site.text("/heavy/grow?120") == before
    eventually("another worker answers", lambda: site.text("/heavy/") != before)
    eventually("it is told", lambda: re.search(r"heavy/0\[\d+\] .* MiB are more than max_memory", site.said()))
    assert site.part("heavy")["restarts"] == 0


def test_a_limit_of_memory_that_nobody_can_keep_is_told_and_not_heeded(site: RunningSite) -> None:
    assert site.text("/tiny/") == site.text("/tiny/")
    message = r"max_memory is not heeded: [0-9.]+ MiB were used before the first request"
    eventually("it is told", lambda: re.search(message, site.said()))


def test_a_worker_that_has_answered_enough_is_replaced(site: RunningSite) -> None:
    pids = [site.text("/counted/") for _ in range(45)]
    assert 4 <= len(set(pids)) <= 6
    assert site.part("counted")["restarts"] == 0
    assert site.part("counted")["requests"] == 45
