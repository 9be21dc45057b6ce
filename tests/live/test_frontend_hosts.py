"""The same table for lighttpd and nginx: names, TLS, redirects, pages of the front end itself, compression, PHP."""

from __future__ import annotations

import gzip
import json
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from frontend_site import UNPRIVILEGED, Answer, FrontEndSite

from framework.frontends.check import find_program
from framework.frontends.servers import SERVERS

SITE = """
[site]
name = "hosts"
max_request_size = "64 KiB"

[[host]]
name = "plain.localhost"
aliases = ["*.example.org", "*.deep.sub.example.org"]
default = true
static = "static"
backends = { one = "/one", down = "/down", quiet = "/quiet", php = "/php", open = "/quiet/open" }

[[host]]
name = "sub.example.org"
aliases = ["*.sub.example.org", "exact.deep.sub.example.org"]
redirect_aliases = false
backends = { two = "/" }
robots = false
unavailable = "down.html"

[[host]]
name = "secure.localhost"
aliases = ["also.localhost", "*.secure.localhost"]
certificate = "secure.pem"
key = "secure.key"
hsts_max_age = 86400
static = "static"
backends = { two = "/", down = "/down" }

[[host]]
name = "both.localhost"
aliases = ["other.localhost", "*.both.localhost"]
certificate = "both.pem"
key = "both.key"
https_redirect = false
redirect_aliases = true
static = "files"
static_prefix = "/"
compression = false
backends = { one = "/one", quiet = "/quiet" }

[[host]]
name = "scripts.localhost"
backends = { php = "/" }

[backend.one]
application = "cases:app"
[backend.two]
application = "cases:app"
[backend.quiet]
application = "cases:app"
robots = false
[backend.open]
application = "cases:app"
[backend.down]
application = "cases:app"
[backend.php]
fastcgi = "unix:PHP"
root = "scripts"
"""
SECRET = b"never shown"
TELLS = "<?php header('Content-Type: application/json'); echo json_encode(['script' => __FILE__, 'env' => $_SERVER, "
TELLS += "'body' => file_get_contents('php://input')]);"
POOL = """
[global]
error_log = {folder}/fpm.log
daemonize = no
[www]
{user}
listen = {folder}/php.sock
listen.mode = 0666
pm = static
pm.max_children = 2
catch_workers_output = yes
"""


def write_site(folder: Path) -> Path:
    for name in ("static", "files", "scripts/sub", "scripts/uploads", "scripts/.git"):
        (folder / name).mkdir(parents=True)
    (folder / "static/app.css").write_text("body { margin: 0 }\n" * 400)
    (folder / "static/data.bin").write_bytes(bytes(range(256)))
    (folder / "files/app.css").write_text("body { margin: 0 }\n" * 400)
    (folder / "files/robots.txt").write_text("# its own\n")
    (folder / "down.html").write_text("<!DOCTYPE html><title>closed</title><p>Come back later")
    for name in ("index.php", "sub/index.php", "sub/page.php", "uploads/real.php", ".git/hook.php", ".hidden.php"):
        (folder / "scripts" / name).write_text(TELLS)
    (folder / "scripts/uploads/evil.jpg").write_text("<?php echo 'executed ' . 'upload';")
    (folder / "scripts/config.inc").write_bytes(b"<?php // " + SECRET)
    (folder / "scripts/sub/link.php").symlink_to("/etc/passwd")
    (folder / "site.toml").write_text(SITE.replace("PHP", f"{folder}/php.sock"))
    return folder / "site.toml"


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[FrontEndSite]:
    if find_program(request.param) is None:
        pytest.skip(f"{request.param} is not installed (make test installs it)")
    with FrontEndSite(write_site, request.param, addresses=("127.0.0.3",), tls=True) as running:
        yield running


@pytest.fixture(scope="module")
def php(server: FrontEndSite) -> Iterator[FrontEndSite]:
    """PHP-FPM at the address that the site file names, started as by somebody else."""
    programs = sorted(Path("/usr/sbin").glob("php-fpm*"))
    if not programs:
        pytest.skip("php-fpm is not installed (make test installs it)")
    user = f"user = {UNPRIVILEGED}\ngroup = nogroup" if server.user else ""
    pool = server.folder / "pool.conf"
    pool.write_text(POOL.format(folder=server.folder, user=user))
    command = [str(programs[-1]), "-n", "-F", "-y", str(pool)]
    with (server.folder / "php.out").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not (server.folder / "php.sock").exists():
            assert process.poll() is None, (server.folder / "php.out").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield server
    finally:
        process.terminate()
        process.wait(30)


# -- names

NAMES = [
    ("plain.localhost", "plain"),
    ("unknown.localhost", "plain"),
    ("www.example.org", "plain"),
    ("a.b.example.org", "plain"),
    ("WWW.Example.ORG.", "plain"),
    ("www.example.org:8080", "plain"),
    ("example.org", "plain"),  # not below itself: unknown, so the default host's
    ("wwwexample.org", "plain"),
    ("sub.example.org", "sub"),
    ("x.sub.example.org", "sub"),
    ("deep.sub.example.org", "sub"),
    ("x.deep.sub.example.org", "plain"),  # the longest wildcard
    ("y.x.deep.sub.example.org", "plain"),
    ("exact.deep.sub.example.org", "sub"),  # a name as it is goes before
    ("xsub.example.org", "plain"),
    ("sub.example.org.evil.example", "plain"),
    ("x.sub.example.org.evil.example", "plain"),
]


@pytest.mark.parametrize(("name", "whose"), NAMES, ids=[name for name, _ in NAMES])
def test_a_name_goes_before_a_wildcard_and_the_longest_wildcard_wins(
    server: FrontEndSite, name: str, whose: str
) -> None:
    answer = server.get(name, "/one/x")
    backend, server_name = {"plain": ("one", "plain.localhost"), "sub": ("two", "sub.example.org")}[whose]
    assert (answer.told["backend"], answer.params["SERVER_NAME"]) == (backend, server_name)


def test_every_address_serves_the_same(server: FrontEndSite) -> None:
    import socket

    with socket.create_connection(("127.0.0.3", server.port), timeout=20) as connection:
        connection.sendall(b"GET /one/x HTTP/1.1\r\nHost: plain.localhost\r\nConnection: close\r\n\r\n")
        assert b'"backend": "one"' in connection.makefile("rb").read()


# -- TLS


@pytest.mark.parametrize("name", ["secure.localhost", "also.localhost", "x.secure.localhost", "both.localhost"])
def test_each_host_shows_its_own_certificate(server: FrontEndSite, name: str) -> None:
    answer = server.get(name, "/one/x", tls_name=name)
    assert answer.params["HTTPS"] == "on"
    assert answer.params["REQUEST_SCHEME"] == "https"
    assert answer.told["backend"] == ("one" if name == "both.localhost" else "two")


def test_a_name_without_a_certificate_is_not_served_by_tls(server: FrontEndSite) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        server.connect("plain.localhost")
    for name in ("plain.localhost", "sub.example.org", "unknown.localhost"):  # one name asked for, another one sent
        answer = server.get(name, "/one/x", tls_name="secure.localhost")
        assert answer.status in (403, 421)
        assert b'"backend"' not in answer.body


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_versions_of_tls_are_refused(server: FrontEndSite, version: str) -> None:
    import socket

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    with socket.create_connection(("127.0.0.1", server.tls_port), timeout=20) as plain:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain, server_hostname="secure.localhost")


def test_tls_1_2_is_taken_with_forward_secrecy_alone(server: FrontEndSite) -> None:
    import socket

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    for ciphers, taken in (("ECDHE+AESGCM", True), ("ECDHE+AES256+SHA384:AES128-SHA", False)):
        context.set_ciphers(ciphers)
        with socket.create_connection(("127.0.0.1", server.tls_port), timeout=20) as plain:
            if taken:
                context.wrap_socket(plain, server_hostname="secure.localhost").close()
            else:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    context.wrap_socket(plain, server_hostname="secure.localhost")


def test_the_key_is_the_front_ends_alone(server: FrontEndSite) -> None:
    for file in server.site.tls_directory.iterdir():
        assert file.stat().st_mode & 0o777 == 0o400
    assert server.site.tls_directory.stat().st_mode & 0o777 == 0o750


# -- redirects: host, path, by TLS?, where it leads

REDIRECTS = [
    ("secure.localhost", "/a%20b/%C3%BC?x=%20y&z", False, "https://secure.localhost:TLS/a%20b/%C3%BC?x=%20y&z"),
    ("secure.localhost", "/", False, "https://secure.localhost:TLS/"),
    ("secure.localhost", "/down/x", False, "https://secure.localhost:TLS/down/x"),
    ("secure.localhost", "/static/app.css", False, "https://secure.localhost:TLS/static/app.css"),
    ("secure.localhost:1234", "/x", False, "https://secure.localhost:TLS/x"),
    ("also.localhost", "/x?y", False, "https://also.localhost:TLS/x?y"),
    ("x.secure.localhost", "/x", False, "https://x.secure.localhost:TLS/x"),
    ("secure.localhost", "//evil.example/x", False, "https://secure.localhost:TLS/"),
    ("secure.localhost", "/x", True, None),
    ("also.localhost", "/x", True, None),
    ("both.localhost", "/one/x", False, None),
    ("other.localhost", "/one/x?y", False, "http://both.localhost/one/x?y"),
    ("other.localhost:8080", "/one/x?y", False, "http://both.localhost:8080/one/x?y"),
    ("z.both.localhost", "/", False, "http://both.localhost/"),
    ("other.localhost", "/one/x", True, "https://both.localhost/one/x"),
    ("other.localhost:8443", "/one/x", True, "https://both.localhost:8443/one/x"),
]


@pytest.mark.parametrize(
    ("host", "path", "tls", "target"), REDIRECTS, ids=[f"{host}{path}-{tls}" for host, path, tls, _ in REDIRECTS]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_redirects_keep_path_method_and_query(
    server: FrontEndSite, host: str, path: str, tls: bool, target: str | None, method: str
) -> None:
    body = b"a=1" if method == "POST" else b""
    answer = server.get(host, path, method=method, body=body, tls_name=host.partition(":")[0] if tls else None)
    if target is None:
        assert answer.status == 200
        return
    assert answer.status == 308
    wanted = target.replace("TLS", str(server.tls_port))
    if path.startswith("//"):
        assert answer.headers["Location"].startswith(wanted)
    else:
        assert answer.headers["Location"] == wanted


@pytest.mark.parametrize("path", ["/x?y=%0d%0aX-Evil:1", "/x%0d%0aX-Evil:1", "/%0aX-Evil:1?x", "/x?\x7f", "/x?y=\xff"])
def test_no_redirect_carries_a_header_of_the_clients(server: FrontEndSite, path: str) -> None:
    answer = server.get("secure.localhost", path)
    assert answer.status in (308, 400)
    assert answer.headers["X-Evil"] is None


def test_an_unknown_name_is_led_to_no_name_of_its_own(server: FrontEndSite) -> None:
    for request in (b"GET /x HTTP/1.0\r\n\r\n", b"GET /x HTTP/1.0\r\nHost: evil.example\r\n\r\n"):
        answer = server.send(request)
        assert "evil" not in (answer.headers["Location"] or "")


@pytest.mark.parametrize("path", ["/x", "/static/app.css", "/static/nowhere", "/down/x"])
def test_hsts_is_told_by_tls_alone(server: FrontEndSite, path: str) -> None:
    told = server.get("secure.localhost", path, tls_name="secure.localhost").headers
    assert told.get_all("Strict-Transport-Security") == ["max-age=86400"]
    assert told["X-Content-Type-Options"] == "nosniff"
    assert server.get("secure.localhost", path).headers["Strict-Transport-Security"] is None
    other = server.get("both.localhost", "/one/x", tls_name="both.localhost")
    assert other.headers["Strict-Transport-Security"] is None


# -- pages of the front end itself


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_back_end_that_is_down_has_a_page(server: FrontEndSite, method: str) -> None:
    body = b"x" * 1000 if method == "POST" else b""
    answer = server.get("plain.localhost", "/down/x?y", method=method, body=body)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Frame-Options"] == "DENY"
    if method != "HEAD":
        text = answer.body.decode()
        assert "Service Unavailable" in text
        assert "try again" in text
        for detail in ("lighttpd", "nginx", ".sock", "cases", str(server.folder)):
            assert detail not in text


def test_a_host_has_a_page_of_its_own(server: FrontEndSite) -> None:
    listener = server.site.socket_path("two")
    aside = listener.with_name("aside")
    listener.rename(aside)
    try:
        answer = server.get("sub.example.org", "/x")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert b"Come back later" in answer.body
    finally:
        aside.rename(listener)
    deadline = time.monotonic() + 20
    while server.get("sub.example.org", "/x").status != 200:  # lighttpd tries again after a second
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_body_that_is_too_large_is_told_so_whatever_is_behind(server: FrontEndSite) -> None:
    for path in ("/down/x", "/one/x"):
        head = f"POST {path} HTTP/1.1\r\nHost: plain.localhost\r\nContent-Length: 67000\r\nConnection: close\r\n\r\n"
        answer = server.send(head.encode(), "POST")
        assert answer.status == 413
        assert answer.headers["Retry-After"] is None


def test_a_back_ends_own_errors_pass_as_they_are(server: FrontEndSite) -> None:
    answer = server.get("plain.localhost", "/one/status/503")
    assert answer.headers["Retry-After"] is None
    assert b'"backend"' in answer.body


ROBOTS = [
    ("plain.localhost", "User-agent: *\nDisallow: /quiet$\nDisallow: /quiet/\nAllow: /quiet/open$\n"),
    ("sub.example.org", "User-agent: *\nDisallow: /\n"),
    ("both.localhost", "# its own\n"),
]


@pytest.mark.parametrize(("host", "text"), ROBOTS)
def test_robots_txt_tells_what_the_site_file_marks(server: FrontEndSite, host: str, text: str) -> None:
    answer = server.get(host, "/robots.txt")
    assert answer.status == 200
    assert answer.body.decode().startswith(text)
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_without_marks_robots_txt_is_the_back_ends(server: FrontEndSite) -> None:
    answer = server.get("secure.localhost", "/robots.txt", tls_name="secure.localhost")
    assert answer.told["backend"] == "two"


# -- static files


def test_text_is_compressed_for_who_takes_it(server: FrontEndSite) -> None:
    plain = server.get("plain.localhost", "/static/app.css")
    packed = server.get("plain.localhost", "/static/app.css", "Accept-Encoding: gzip")
    assert plain.headers["Content-Encoding"] is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert len(packed.body) < len(plain.body) / 4
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["Cache-Control"] == plain.headers["Cache-Control"] == "public, max-age=300"
    again = server.get(
        "plain.localhost", "/static/app.css", "Accept-Encoding: gzip", f"If-None-Match: {packed.headers['ETag']}"
    )
    assert (again.status, again.body) == (304, b"")


def test_what_gains_nothing_and_what_is_not_to_be_is_not_compressed(server: FrontEndSite) -> None:
    for host, path in (
        ("plain.localhost", "/static/data.bin"),
        ("both.localhost", "/app.css"),
        ("plain.localhost", "/one/x"),
    ):
        assert server.get(host, path, "Accept-Encoding: gzip").headers["Content-Encoding"] is None


@pytest.mark.parametrize(
    ("wanted", "got"), [("0-3", (0, 4)), ("250-", (250, 256)), ("-6", (250, 256)), ("4-9999", (4, 256))]
)
def test_ranges_of_a_file(server: FrontEndSite, wanted: str, got: tuple[int, int]) -> None:
    answer = server.get("plain.localhost", "/static/data.bin", f"Range: bytes={wanted}")
    assert answer.status == 206
    assert answer.body == bytes(range(256))[slice(*got)]
    assert answer.headers["Content-Range"] == f"bytes {got[0]}-{got[1] - 1}/256"


def test_ranges_that_cannot_be(server: FrontEndSite) -> None:
    answer = server.get("plain.localhost", "/static/data.bin", "Range: bytes=300-")
    assert answer.status == 416
    first = server.get("plain.localhost", "/static/data.bin")
    changed = server.get("plain.localhost", "/static/data.bin", "Range: bytes=0-3", 'If-Range: "other"')
    assert (changed.status, changed.body) == (200, first.body)


# -- PHP-FPM


def told(answer: Answer) -> dict[str, object]:
    assert answer.status == 200, answer.body
    value = json.loads(answer.body)
    assert isinstance(value, dict)
    return value


SCRIPTS = [
    ("plain.localhost", "/php/", "/php", "index.php"),
    ("plain.localhost", "/php/index.php?a=b", "/php", "index.php"),
    ("plain.localhost", "/php/sub/", "/php", "sub/index.php"),
    ("plain.localhost", "/php/sub/page.php", "/php", "sub/page.php"),
    ("plain.localhost", "/php/uploads/../sub/page.php", "/php", "sub/page.php"),
    ("scripts.localhost", "/", "", "index.php"),
    ("scripts.localhost", "/sub/page.php", "", "sub/page.php"),
]


@pytest.mark.parametrize(("host", "path", "mounted", "script"), SCRIPTS)
def test_php_runs_the_script_that_is_named(php: FrontEndSite, host: str, path: str, mounted: str, script: str) -> None:
    answer = told(php.get(host, path, method="POST", body=b"a=1"))
    env = answer["env"]
    assert isinstance(env, dict)
    root = php.folder / "scripts"
    assert answer["script"] == env["SCRIPT_FILENAME"] == f"{root}/{script}"
    assert env["SCRIPT_NAME"] == f"{mounted}/{script}"
    assert env["DOCUMENT_ROOT"].rstrip("/") == str(root)
    assert env.get("PATH_INFO", "") == ""
    assert env["REQUEST_METHOD"] == "POST"
    assert answer["body"] == "a=1"


def test_a_folder_of_scripts_gets_its_slash(php: FrontEndSite) -> None:
    answer = php.get("plain.localhost", "/php?a=b")
    assert (answer.status, answer.headers["Location"]) == (308, "/php/?a=b")


TRICKS = [
    "/uploads/evil.jpg/x.php",
    "/uploads/evil.jpg/.php",
    "/uploads/evil.jpg%00.php",
    "/uploads/evil.jpg%2f.php",
    "/uploads/evil.jpg%2fx.php",
    "/uploads/evil.jpg",
    "/uploads/evil.jpg?x.php",
    "/index.php/extra",
    "/index.php/x.php",
    "/index.php%2fx.php",
    "/index.php%0a",
    "/index.php.jpg",
    "/index.phpx",
    "/index.php.",
    "/nowhere.php",
    "/uploads/",
    "/config.inc",
    "/config.inc/x.php",
    "/.hidden.php",
    "/.git/hook.php",
    "/sub/.php",
    "/sub/link.php",
    "/../down.html",
    "/..%2fsecure.key",
    "/sub",
]


@pytest.mark.parametrize("path", TRICKS)
@pytest.mark.parametrize(("host", "mounted"), [("plain.localhost", "/php"), ("scripts.localhost", "")])
def test_no_other_path_runs_or_shows_anything(php: FrontEndSite, host: str, mounted: str, path: str) -> None:
    answer = php.get(host, mounted + path)
    assert answer.status in (301, 400, 403, 404)
    for content in (SECRET, b"executed", b"<?php", b"PRIVATE KEY", b"root:"):
        assert content not in answer.body


def test_php_that_is_not_there_has_the_page_too(server: FrontEndSite) -> None:
    folder = Path(tempfile.mkdtemp(prefix="away-"))
    sock = server.folder / "php.sock"
    if sock.exists():
        shutil.move(sock, folder / "sock")
    try:
        answer = server.get("plain.localhost", "/php/index.php")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    finally:
        if (folder / "sock").exists():
            shutil.move(folder / "sock", sock)
        shutil.rmtree(folder)
