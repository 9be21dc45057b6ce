"""The Python clients through real web servers with TLS: a certificate of one's own, and whom it does not stand for."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from front_ends import FRONT_ENDS, Site

from fastcore import implementation
from framework.rpc import AsyncClient, Client, RemoteError
from framework.site.certificates import make_self_signed

DEADLINE = 20.0
PAIR = {
    "nginx-kept": (
        "listen 127.0.0.1:8080;",
        "listen 127.0.0.1:8080 ssl; ssl_certificate /srv/app/own.pem; ssl_certificate_key /srv/app/own.key;",
    ),
    "lighttpd-streaming": (
        'server.modules = ("mod_fastcgi")',
        'server.modules = ("mod_fastcgi", "mod_openssl")\n'
        'ssl.engine = "enable"\nssl.pemfile = "/srv/app/own.pem"\nssl.privkey = "/srv/app/own.key"',
    ),
}


@pytest.fixture(params=PAIR)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    front_end = FRONT_ENDS[request.param]
    if not shutil.which(front_end.program, path=os.environ["PATH"] + ":/usr/sbin"):
        pytest.skip(f"needs {front_end.program} (scripts/debian-packages.sh)")
    plain, secure = PAIR[request.param]
    assert plain in front_end.configuration
    front_end = replace(front_end, configuration=front_end.configuration.replace(plain, secure))
    twin = "compiled" if implementation.accelerated else "pure"
    running = Site(front_end, dict(os.environ), twin, application="rpc_application:app")
    make_self_signed(running.folder / "own.pem", running.folder / "own.key", ["localhost"])
    (running.folder / "own.key").chmod(0o644)  # the front end is nobody; the folder is this test's own
    with running:
        yield running


def test_python_calls_by_https(site: Site) -> None:
    own = ssl.create_default_context(cafile=str(site.folder / "own.pem"))
    url = f"https://localhost:{site.port}/rpc"

    async def talk() -> None:
        async with AsyncClient(url, context=own, timeout=DEADLINE) as client:
            assert await asyncio.gather(*(client.echo(number) for number in range(4))) == [0, 1, 2, 3]
            assert [number async for number in client.ticks(2)] == [0, 1]
            stream = await client.silent(str(site.shared / "awaited"))
            assert await anext(stream) == "first"
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
            assert waiting.cancelled()
            await stream.aclose()

    with Client(url, context=own, timeout=DEADLINE) as client:
        for number in range(3):
            assert client.echo({number}) == {number}
        with client.batch() as batch:
            results = [batch.echo(1), batch.echo(2)]
        assert [one.result() for one in results] == [1, 2]
        assert list(client.ticks(3)) == [0, 1, 2]
        with client.silent(str(site.shared / "blocking")) as stream:
            assert next(stream) == "first"
        assert client.echo("still there") == "still there"
    asyncio.run(talk())
    deadline = time.monotonic() + DEADLINE
    for mark in ("blocking", "awaited"):
        while not (site.shared / mark).exists():
            assert time.monotonic() < deadline, f"the generator of {mark} was not ended"
            time.sleep(0.02)
    for wrong, context in ((url.replace("localhost", "127.0.0.1"), own), (url, ssl.create_default_context())):
        with (
            pytest.raises(RemoteError, match="CERTIFICATE_VERIFY_FAILED") as caught,
            Client(wrong, context=context) as c,
        ):
            c.echo(1)
        assert caught.value.type == "ConnectionError"
