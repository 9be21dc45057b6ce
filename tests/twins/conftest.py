"""Fixtures of several files here."""

from __future__ import annotations

import pytest
from loop_thread import LoopThread


@pytest.fixture(params=("asyncio", "uvloop"))
def serve_async(twin, tmp_path, request):
    """A function that serves an application; the path "/" is answered by the test itself, synchronously."""
    running = []

    def started(application, **options):
        def answer(request):
            return b"fine" if request.get("PATH_INFO", "/") == "/" else application(request)

        loop = LoopThread(twin, answer, tmp_path, event_loop=request.param, **options)
        running.append(loop)
        return loop.__enter__()

    yield started
    for loop in running:
        loop.__exit__()
        assert loop.error is None
