"""`sitectl reload`: the next generation takes over as a whole or not at all, and no request is lost."""

from __future__ import annotations

import http.client
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running_site import APPLICATION, RunningSite, alive, discard, eventually, open_folder

from framework.process import linux

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")

VERSIONED = "\ndef do_version(query):\n    return {version!r}\n"


@pytest.fixture
def site() -> Iterator[RunningSite]:
    folder = open_folder(Path())
    site = RunningSite(folder)
    site.write_code("appl.py", APPLICATION + VERSIONED.format(version="old"))
    site.add_backend("one")
    site.add_backend("two", workers=2)
    try:
        site.setup()
        yield site
    finally:
        site.remove()
        discard(folder)


def pids(site: RunningSite) -> dict[str, int]:
    return {part["name"]: part["pid"] for part in site.status()["parts"]}


def reload(site: RunningSite, *names: str, status: int = 0) -> str:
    done = site.sitectl("reload", *names)
    assert done.returncode == status, done.stdout + done.stderr + site.said()
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_new_code_is_brought_in_and_the_front_end_goes_on(site: RunningSite) -> None:
    site.start()
    before = pids(site)
    site.write_code("appl.py", APPLICATION + VERSIONED.format(version="new"))
    assert site.text("/one/version") == "old"
    assert "reloaded one, two" in reload(site)
    assert site.text("/one/version") == site.text("/two/version") == "new"
    after = pids(site)
    assert after["lighttpd"] == before["lighttpd"]
    assert after["one"] != before["one"]
    eventually("the old generation has ended", lambda: not any(alive(before[name]) for name in ("one", "two")))
    assert {part["name"]: part["generation"] for part in site.status()["parts"]} == {"lighttpd": 1, "one": 2, "two": 2}


def test_one_back_end_is_reloaded_and_the_others_stay(site: RunningSite) -> None:
    site.start()
    before = pids(site)
    reload(site, "two")
    after = pids(site)
    assert {name for name in before if before[name] != after[name]} == {"two"}


def test_of_a_changed_site_file_a_named_back_end_takes_what_is_said_of_it(site: RunningSite) -> None:
    site.start()
    site.backends["one"]["environment"] = {"GREETING": "one"}
    site.backends["two"]["environment"] = {"GREETING": "two"}
    site.write_site()
    assert "waiting for a reload of the whole site, without names: back end one" in reload(site, "two")
    assert "GREETING=two" in site.text("/two/environment")
    assert "GREETING" not in site.text("/one/environment")
    assert "waiting" not in reload(site)
    assert "GREETING=one" in site.text("/one/environment")


def test_code_that_cannot_be_imported_changes_nothing_and_is_shown(site: RunningSite) -> None:
    site.start()
    before = pids(site)
    site.write_code("appl.py", "def app(environ, start_response:\n")
    said = reload(site, status=1)
    assert "the running generation stays" in said
    assert re.search(r"back end (one|two): cannot import 'appl': SyntaxError: .*appl\.py:1", said)
    assert pids(site) == before
    assert site.text("/one/version") == site.text("/two/version") == "old"
    site.write_code("appl.py", APPLICATION + VERSIONED.format(version="new"))
    reload(site)
    assert site.text("/one/version") == "new"


def test_a_generation_that_is_not_healthy_does_not_take_over(site: RunningSite) -> None:
    site.backends["one"]["health"] = "/version"
    site.write_site()
    site.start()
    site.write_code("appl.py", APPLICATION + "\ndef do_version(query):\n    raise OSError('no database')\n")
    assert "back end one: its health cannot be asked at /version: OSError('no database')" in reload(site, status=1)
    ill = APPLICATION.replace("200 OK", "503 Service Unavailable") + VERSIONED.format(version="ill")
    site.write_code("appl.py", ill)
    assert "back end one: is not healthy: /version answers 503 Service Unavailable: ill" in reload(site, status=1)
    assert site.text("/one/version") == "old"
    site.write_code("appl.py", APPLICATION + VERSIONED.format(version="well"))
    reload(site)
    assert site.text("/one/version") == "well"


@pytest.mark.skipif(not linux.landlock_version(), reason="the start fails by a file that Landlock cannot show")
def test_a_back_end_that_cannot_be_started_ends_the_whole_new_generation(site: RunningSite) -> None:
    site.start()
    before = pids(site)
    closed = site.folder / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").touch()
    site.backends["one"]["read"] = [str(closed / "file")]  # there, but out of its user's reach
    site.write_site()
    assert "back end one cannot be started" in reload(site, status=1)
    assert pids(site) == before
    del site.backends["one"]["read"]
    site.write_site()
    assert "reloaded one, two" in reload(site)


def test_a_request_that_has_begun_is_finished_by_the_old_generation(site: RunningSite) -> None:
    site.start()
    answers: list[str] = []
    program = "print('the request has begun', flush=True); time.sleep(2); said = 'slept'"
    slow = threading.Thread(target=lambda: answers.append(site.text(f"/one/run?{program.encode().hex()}")))
    slow.start()
    eventually("the request has begun", lambda: "the request has begun" in site.said())
    reload(site)
    slow.join(30)
    assert answers == ["'slept'"]


def test_a_changed_site_file_adds_and_removes_back_ends(site: RunningSite) -> None:
    site.start()
    users = site.user_of("two")
    del site.backends["two"]
    site.add_backend("three", environment={"GREETING": "hello"})
    site.setup()
    said = reload(site)
    assert "reloaded one, three, lighttpd has its new configuration" in said
    eventually("the front end has it too", lambda: site.get("/three/version")[0] == 200)
    assert "GREETING=hello" in site.text("/three/environment")
    eventually("two is no more", lambda: site.get("/two/version")[0] == 404)
    assert [part["name"] for part in site.status()["parts"]] == ["lighttpd", "one", "three"]
    assert not (site.run_directory / "sockets" / "two.sock").exists()
    site.backends["two"] = {"application": "appl:app", "user": users, "group": users, "path": ["code"]}
    site.write_site()
    reload(site)
    eventually("two is back", lambda: site.get("/two/version")[0] == 200)


def test_a_mistake_in_the_site_file_is_told_with_its_line_and_changes_nothing(site: RunningSite) -> None:
    site.start()
    before = pids(site)
    text = site.file.read_text()
    site.file.write_text(text.replace("workers = 2", 'workers = "many"'))
    done = site.sitectl("reload")
    assert done.returncode == 1
    assert re.search(r"site\.toml:\d+: error: backend\.two\.workers", done.stderr)
    site.file.write_text(text)
    assert pids(site) == before


def test_what_cannot_change_in_a_running_site_is_told(site: RunningSite) -> None:
    site.start()
    text = site.file.read_text()
    site.file.write_text(re.sub(r'listen = "127.0.0.1:\d+"', 'listen = "127.0.0.1:1234"', text))
    said = reload(site, status=1)
    assert f"listen was 127.0.0.1:{site.port} and is 127.0.0.1:1234 now" in said
    assert "sitectl stop" in said
    site.file.write_text(text)
    assert "there is no back end 'three'; there are one, two" in reload(site, "three", status=1)


def test_a_hang_up_reloads_where_there_is_no_terminal(site: RunningSite) -> None:
    site.start(session=True)
    before = pids(site)
    assert site.process is not None
    site.process.send_signal(signal.SIGHUP)
    eventually("it has reloaded", lambda: "reloaded: generation 2" in site.said())
    assert pids(site)["one"] != before["one"]
    site.file.write_text("nonsense")
    site.process.send_signal(signal.SIGHUP)
    eventually("it has said why not", lambda: "SIGHUP: not reloaded: " in site.said())
    site.write_site()
    assert site.text("/one/version") == "old"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("frontend", ["lighttpd", "nginx"])
def test_twenty_reloads_under_load_lose_no_request(site: RunningSite, frontend: str) -> None:
    site.site_keys["frontend"] = frontend
    site.write_site()
    site.start()
    with load(site) as requests:
        for _ in range(20):
            reload(site)
        generation = {part["generation"] for part in site.status()["parts"][1:]}
    assert generation == {21}
    assert requests.failures == []
    assert requests.answered > 100


class Requests:
    """What came of requests that were sent all the time."""

    def __init__(self) -> None:
        self.answered = 0
        self.failures: list[str] = []
        self.ending = False


@contextmanager
def load(site: RunningSite) -> Iterator[Requests]:
    """Two clients, each one request after the other, half of them with bodies, on kept connections and new ones."""
    requests = Requests()

    def send(backend: str, keep: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
        number = 0
        while not requests.ending:
            number += 1
            try:
                method, body = ("POST", b"x" * 5000) if number % 2 else ("GET", None)
                headers = {"Host": "console.localhost"}
                connection.request(method, f"/{backend}/version", body=body, headers=headers)
                answer = connection.getresponse()
                if (answer.status, answer.read()) != (200, b"old"):
                    requests.failures.append(f"{backend} {method}: {answer.status}")
                requests.answered += 1
            except (OSError, http.client.HTTPException) as error:
                requests.failures.append(f"{backend} {number}: {error!r}")
                connection.close()
            if not keep:
                connection.close()

    threads = [threading.Thread(target=send, args=each) for each in (("one", True), ("two", False))]
    for thread in threads:
        thread.start()
    try:
        yield requests
    finally:
        requests.ending = True
        for thread in threads:
            thread.join(60)
