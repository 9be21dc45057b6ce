"""Flask and Django as back ends of a site with TLS: under users of their own, sandboxed, behind both front ends."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from ports import free_port
from running_site import RunningSite, discard, eventually, open_folder

from framework.frontends.check import find_program
from framework.site.certificates import make_self_signed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: users, sockets and privileges are real")
pytest.importorskip("flask")
pytest.importorskip("django")

COMMON = """
import os

def facts():
    status = open("/proc/self/status").read()
    kept = {line.split(":")[0]: line.split()[-1] for line in status.splitlines() if ":" in line}
    facts = {"uid": os.getuid(), **{key: kept[key] for key in ("CapEff", "NoNewPrivs", "Seccomp")}}
    for path in ("/etc/shadow", "/etc/hostname", SITE, KEY):
        try:
            open(path).close()
            facts[path] = "read"
        except OSError as error:
            facts[path] = type(error).__name__
    try:
        os.execv("/bin/true", ["true"])
    except OSError as error:
        facts["exec"] = type(error).__name__
    return facts
"""
FLASK = """
from common import facts
from flask import Flask, request, url_for

app = Flask(__name__)

@app.route("/facts")
def tell():
    return facts()

@app.route("/form", methods=["POST"])
def form():
    return {"said": request.form["said"], "url": url_for("tell"), "secure": request.is_secure, "host": request.host}
"""
DJANGO = """
from common import facts
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import path, reverse

settings.configure(SECRET_KEY="only for tests", ALLOWED_HOSTS=["console.localhost"], ROOT_URLCONF=__name__)

def tell(request):
    return JsonResponse(facts())

def form(request):
    url, host = reverse("facts"), request.get_host()
    return JsonResponse({"said": request.POST["said"], "url": url, "secure": request.is_secure(), "host": host})

urlpatterns = [path("facts", tell, name="facts"), path("form", form)]
app = get_wsgi_application()
"""


class TlsSite(RunningSite):
    """A running site with a port for TLS and its certificate."""

    def __init__(self, folder: Path, frontend: str) -> None:
        super().__init__(folder)
        self.tls_port = free_port()
        self.pair = folder / "host.pem", folder / "host.key"
        self.site_keys = {"frontend": frontend, "listen_tls": f"127.0.0.1:{self.tls_port}"}
        self.host_keys = {"certificate": str(self.pair[0]), "key": str(self.pair[1]), "hsts_max_age": 60}
        make_self_signed(*self.pair, ["console.localhost"])

    def certificate(self) -> bytes:
        """The one that is shown, whoever has signed it."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.tls_port), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname="console.localhost") as connection:
                return connection.getpeercert(binary_form=True) or b""

    def ask(self, path: str, body: bytes = b"") -> tuple[int, str]:
        context = ssl.create_default_context(cafile=str(self.pair[0]))
        with socket.create_connection(("127.0.0.1", self.tls_port), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname="console.localhost") as connection:
                head = (
                    f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: console.localhost\r\nConnection: close\r\n"
                )
                if body:
                    head += f"Content-Length: {len(body)}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                connection.sendall(head.encode() + b"\r\n" + body)
                response = HTTPResponse(connection)
                response.begin()
                return response.status, response.read().decode()


@pytest.fixture(scope="module", params=["lighttpd", "nginx"])
def site(request: pytest.FixtureRequest) -> Iterator[TlsSite]:
    if find_program(request.param) is None:
        pytest.skip(f"{request.param} is not installed (make test installs it)")
    folder = open_folder(Path())
    site = TlsSite(folder, request.param)
    places = f"SITE = {str(site.file)!r}\nKEY = {str(site.pair[1])!r}\n"
    for name, text in (("common", places + COMMON), ("flaskapp", FLASK), ("djangoapp", DJANGO)):
        site.write_code(f"{name}.py", text)
    site.add_backend("flask", application="flaskapp:app")
    site.add_backend("django", application="djangoapp:app")
    try:
        site.setup()
        site.start()
        yield site
    finally:
        site.remove()
        discard(folder)


@pytest.mark.parametrize("backend", ["flask", "django"])
def test_the_application_finds_itself_below_its_prefix_and_by_tls(site: TlsSite, backend: str) -> None:
    status, text = site.ask(f"/{backend}/form", b"said=gr%C3%BC%C3%9Fe")
    assert status == 200, (text, site.said())
    wanted = {"said": "grüße", "url": f"/{backend}/facts", "secure": True, "host": "console.localhost"}
    assert json.loads(text) == wanted


@pytest.mark.parametrize("backend", ["flask", "django"])
def test_it_has_a_user_of_its_own_and_the_sandbox(site: TlsSite, backend: str) -> None:
    status, text = site.ask(f"/{backend}/facts")
    assert status == 200, (text, site.said())
    facts = json.loads(text)
    assert facts["uid"] == pwd.getpwnam(site.user_of(backend)).pw_uid
    assert (int(facts["CapEff"], 16), facts["NoNewPrivs"], facts["Seccomp"]) == (0, "1", "2")
    refused = {"PermissionError", "FileNotFoundError"}
    assert {facts[path] for path in ("/etc/shadow", str(site.file), str(site.pair[1]), "exec")} <= refused


def test_doctor_finds_them_no_wider_than_declared(site: TlsSite) -> None:
    done = site.sitectl("doctor")
    assert done.returncode == 0, done.stdout


def test_plain_http_leads_to_https(site: TlsSite) -> None:
    status, _ = site.get("/flask/facts")
    assert status == 308


def test_the_key_is_read_by_the_front_end_alone(site: TlsSite) -> None:
    front = pwd.getpwnam("www-data")
    copies = sorted((site.run_directory / "tls").iterdir())
    assert len(copies) == 2
    for file in copies:
        status = file.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o400, front.pw_uid)
        assert subprocess.run(["cat", file], user="www-data", group="www-data", capture_output=True).returncode == 0
        for user in ("nobody", site.user_of("flask")):
            done = subprocess.run(
                ["cat", file],
                user=user,
                group=user if user != "nobody" else "nogroup",
                extra_groups=[],
                capture_output=True,
            )
            assert done.returncode == 1
    assert subprocess.run(["cat", site.pair[1]], user="www-data", group="www-data", capture_output=True).returncode == 1


def test_a_renewed_certificate_comes_into_use_by_a_reload_and_a_bad_one_does_not(site: TlsSite) -> None:
    before = site.certificate()
    for file in site.pair:
        file.unlink()
    make_self_signed(*site.pair, ["console.localhost"])
    assert site.certificate() == before
    done = site.sitectl("reload")
    assert done.returncode == 0, done.stderr
    after = eventually("the new certificate is shown", lambda: (now := site.certificate()) != before and now)
    assert site.ask("/flask/facts")[0] == 200
    assert len(list((site.run_directory / "tls").iterdir())) == 2
    kept = site.pair[1].read_bytes()
    other = site.folder / "other"
    other.mkdir()
    make_self_signed(other / "a.pem", other / "a.key", ["console.localhost"])
    try:
        shutil.copyfile(other / "a.key", site.pair[1])  # the mode stays 0600
        done = site.sitectl("reload")
        assert done.returncode == 1
        assert "refuses the configuration" in done.stderr
        site.pair[1].chmod(0o644)
        done = site.sitectl("reload")
        assert done.returncode == 1
        assert "others can read the key" in done.stderr
    finally:
        site.pair[1].write_bytes(kept)
        site.pair[1].chmod(0o600)
    assert site.certificate() == after


def test_as_units_systemd_hands_over_certificate_and_key(site: TlsSite) -> None:
    output = site.folder / "units"
    output.mkdir()
    done = site.sitectl("systemd", "--output", str(output))
    assert done.returncode == 0, done.stderr
    name = f"{site.name}-{site.site_keys['frontend']}"
    unit = (output / f"{name}.service").read_text()
    configuration = (output / f"{name}.conf").read_text()
    for which, file in zip(("crt", "key"), site.pair, strict=True):
        assert f"LoadCredential=tls-0.{which}:{file}\n" in unit
        assert f'"/run/credentials/{name}.service/tls-0.{which}"' in configuration
        assert str(file) not in configuration
    page = output / f"{site.name}-unavailable-console.localhost.html"
    assert f'"{page}"' in configuration
    assert "Service Unavailable" in page.read_text()
