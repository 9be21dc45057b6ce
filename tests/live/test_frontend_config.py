"""The generated configurations in real web servers: what reaches which back end, what is served, what is refused."""

from __future__ import annotations

import os
import pwd
import re
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path

import pytest
from frontend_site import UNPRIVILEGED, FrontEndSite

from framework.frontends.check import find_program
from framework.frontends.servers import SERVERS

REFUSED_STATIC = (403, 404)  # a file below a file: lighttpd says that it may not, nginx that it is not there
DOWN = (502, 503)

SITE = """
[site]
name = "cases"
max_request_size = "64 KiB"

[[host]]
name = "wall.localhost"
static = "wall"
backends = { status = "/" }

[[host]]
name = "console.localhost"
aliases = ["localhost", "127.0.0.1", "::1"]
default = true
static = "static"
backends = { status = "/status", notes = "/notes", deep = "/notes/deep", down = "/down" }

[[host]]
name = "files.localhost"
static = "files"
static_prefix = "/"
static_max_age = 0
backends = ["notes"]
headers = { X-Frame-Options = "", Content-Security-Policy = "default-src 'none'", X-Odd = '"quoted" $value \\n ${x};#' }

[backend.status]
application = "cases:app"
[backend.notes]
application = "cases:app"
[backend.deep]
application = "cases:app"
[backend.down]
application = "cases:app"
"""
SECRET = b"this is outside of every static folder"


def write_site(folder: Path) -> Path:
    source = folder / "a 'site' with \"quotes\" $1 %1 \\n"
    for name in ("static/sub", "wall", "files/.well-known", "files/sub"):
        (source / name).mkdir(parents=True)
    (source / "static/app.css").write_text("body { margin: 0 }\n")
    (source / "static/page.xhtml").write_text("<p>page</p>")
    (source / "static/module.mjs").write_text("export default 1\n")
    (source / "static/unknown.xyz").write_bytes(b"\0\1\2")
    (source / "static/two words.txt").write_text("two words")
    (source / "static/.hidden").write_bytes(SECRET)
    (source / "static/sub/file.txt").write_text("below")
    (source / "secret.txt").write_bytes(SECRET)
    (source / "static/link.txt").symlink_to("../secret.txt")
    (source / "static/out").symlink_to(source)
    (source / "wall/wall.css").write_text("wall")
    (source / "files/index.html").write_text("index of files")
    (source / "files/sub/a.txt").write_text("a")
    (source / "files/.secret").write_bytes(SECRET)
    (source / "files/.well-known/security.txt").write_text("Contact: nobody")
    (source / "site.toml").write_text(SITE)
    return source / "site.toml"


@pytest.fixture(scope="module", params=SERVERS)
def program(request: pytest.FixtureRequest) -> str:
    """The name of each web server that is here."""
    if find_program(request.param) is None:
        pytest.skip(f"{request.param} is not installed (make test installs it)")
    return str(request.param)


@pytest.fixture(scope="module")
def server(program: str) -> Iterator[FrontEndSite]:
    with FrontEndSite(write_site, program) as running:
        yield running


# host, path, and what has to come of it: a back end with SCRIPT_NAME and PATH_INFO, a file's text, or a status.
ROUTES = [
    ("console.localhost", "/status", ("status", "/status", "")),
    ("console.localhost", "/status/", ("status", "/status", "/")),
    ("console.localhost", "/status/a/b", ("status", "/status", "/a/b")),
    ("console.localhost", "/status/a%20b/%C3%BC", ("status", "/status", "/a b/\u00c3\u00bc")),
    ("console.localhost", "/status?query=/notes", ("status", "/status", "")),
    ("console.localhost", "/statusx", 404),
    ("console.localhost", "/status.html", 404),
    ("console.localhost", "/STATUS", 404),
    ("console.localhost", "/notes/x", ("notes", "/notes", "/x")),
    ("console.localhost", "/notes/deep", ("deep", "/notes/deep", "")),
    ("console.localhost", "/notes/deep/x", ("deep", "/notes/deep", "/x")),
    ("console.localhost", "/notes/deeper", ("notes", "/notes", "/deeper")),
    ("console.localhost", "/down/x", DOWN),
    ("console.localhost", "/", "302 /status/"),
    ("console.localhost", "/?a=b", "302 /status/"),
    ("console.localhost", "/nowhere", 404),
    ("console.localhost", "/static/app.css", b"body { margin: 0 }\n"),
    ("console.localhost", "/static/two%20words.txt", b"two words"),
    ("console.localhost", "/static/sub/file.txt", b"below"),
    ("console.localhost", "/static/app.css/extra", REFUSED_STATIC),
    ("console.localhost", "/static", 404),
    ("console.localhost", "/static/", 403),
    ("console.localhost", "/static/sub/", 403),
    ("console.localhost", "/static/.hidden", 403),
    ("console.localhost", "/static/link.txt", 403),
    ("console.localhost", "/static/out/secret.txt", REFUSED_STATIC),
    ("console.localhost", "/app.css", 404),
    ("wall.localhost", "/", ("status", "", "/")),
    ("wall.localhost", "/status/x", ("status", "", "/status/x")),
    ("wall.localhost", "/first/second", ("status", "", "/first/second")),
    ("wall.localhost", "/static/wall.css", b"wall"),
    ("wall.localhost", "/static/app.css", 404),
    ("wall.localhost", "/staticx", ("status", "", "/staticx")),
    ("wall.localhost", "/notes/x", ("status", "", "/notes/x")),
    ("files.localhost", "/", b"index of files"),
    ("files.localhost", "/sub/a.txt", b"a"),
    ("files.localhost", "/notes/x", ("notes", "/notes", "/x")),
    ("files.localhost", "/notesx", 404),
    ("files.localhost", "/.secret", 403),
    ("files.localhost", "/.well-known/security.txt", b"Contact: nobody"),
    ("files.localhost", "/status/x", 404),
    # names
    ("CONSOLE.localhost", "/status", ("status", "/status", "")),
    ("Wall.LocalHost.", "/", ("status", "", "/")),
    ("wall.localhost:80", "/", ("status", "", "/")),
    ("localhost:9999", "/status", ("status", "/status", "")),
    ("127.0.0.1", "/static/app.css", b"body { margin: 0 }\n"),
    ("[::1]:8080", "/status", ("status", "/status", "")),
    ("unknown.example", "/status", ("status", "/status", "")),
    ("unknown.example", "/", "302 /status/"),
    ("xwall.localhost", "/static/app.css", b"body { margin: 0 }\n"),
    ("wall.localhost.evil.example", "/static/app.css", b"body { margin: 0 }\n"),
    ("wallxlocalhost", "/static/app.css", b"body { margin: 0 }\n"),
    # encoded and dotted ways to somewhere else
    ("console.localhost", "/st%61tus/x", ("status", "/status", "/x")),
    ("console.localhost", "/notes/../status/x", ("status", "/status", "/x")),
    ("console.localhost", "/notes/%2e%2e/status/x", ("status", "/status", "/x")),
    ("console.localhost", "/notes%2Fdeep/x", ("deep", "/notes/deep", "/x")),
    ("console.localhost", "/./status//x", ("status", "/status", "/x")),
    ("console.localhost", "/static/../status/x", ("status", "/status", "/x")),
    ("console.localhost", "/static/sub/../app.css", b"body { margin: 0 }\n"),
]


@pytest.mark.parametrize(("host", "path", "expected"), ROUTES, ids=[f"{host}{path}" for host, path, _ in ROUTES])
def test_each_host_and_path_ends_where_the_site_file_says(
    server: FrontEndSite, host: str, path: str, expected: object
) -> None:
    answer = server.get(host, path)
    if isinstance(expected, int):
        assert answer.status == expected
    elif expected in (REFUSED_STATIC, DOWN):
        assert answer.status in expected
    elif isinstance(expected, bytes):
        assert (answer.status, answer.body) == (200, expected)
    elif isinstance(expected, str):
        assert f"{answer.status} {answer.headers['Location']}" == expected
    else:
        assert answer.status == 200, answer.body
        params = answer.params
        assert (answer.told["backend"], params["SCRIPT_NAME"], params.get("PATH_INFO", "")) == expected
    assert SECRET not in answer.body


TRAVERSALS = [
    "/static/../secret.txt",
    "/static/%2e%2e/secret.txt",
    "/static/..%2fsecret.txt",
    "/static/%2e%2e%2fsecret.txt",
    "/static/..%5csecret.txt",
    "/static/..\\secret.txt",
    "/static/%252e%252e/secret.txt",
    "/static/..;/secret.txt",
    "/static/....//secret.txt",
    "/static../secret.txt",
    "/static%2e%2e/secret.txt",
    "/static//../secret.txt",
    "/static/sub/../../secret.txt",
    "/static/sub/%2e%2e/%2e%2e/secret.txt",
    "/static/%c0%ae%c0%ae/secret.txt",
    "/static/\xc0\xae\xc0\xae/secret.txt",
    "/static/%00/../secret.txt",
    "/static/app.css%00.txt",
    "/../secret.txt",
    "/..%2f..%2f..%2f..%2fetc/passwd",
    "//etc/passwd",
    "/static//etc/passwd",
    "/static/out/../secret.txt",
    "/static/%2ehidden",
    "/static/sub/../.hidden",
    "/static/./.hidden",
    "/static/link%2etxt",
]


@pytest.mark.parametrize("host", ["console.localhost", "wall.localhost", "files.localhost"])
@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_out_of_a_static_folder(server: FrontEndSite, host: str, path: str) -> None:
    answer = server.get(host, path)
    assert SECRET not in answer.body
    assert b"root:" not in answer.body
    if host != "wall.localhost":  # a back end at the root may be asked for anything
        assert answer.status in (400, 403, 404)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a b",
        "a/b",
        "user@wall.localhost",
        "wall.localhost:port",
        "wall.localhost:80:80",
        "[::1",
        "wall.localhost#x",
        "wall.localhost?x",
        "wall.localhost\x00",
        "<script>",
        '"quoted"',
        "..",
        "a" * 20000,
    ],
)
def test_a_malformed_host_header_reaches_no_back_end(server: FrontEndSite, host: str) -> None:
    answer = server.get(host, "/status/x")
    assert answer.status in (400, 431)
    assert b'"backend"' not in answer.body


def test_two_host_headers_are_refused(server: FrontEndSite) -> None:
    answer = server.get("console.localhost", "/status/x", "Host: wall.localhost")
    assert answer.status == 400


def test_http_1_1_without_a_host_header_is_refused(server: FrontEndSite) -> None:
    assert server.send(b"GET /status/x HTTP/1.1\r\nConnection: close\r\n\r\n").status == 400


def test_http_0_9_reaches_no_back_end_and_no_file(server: FrontEndSite) -> None:
    for path in ("/status/x", "/static/app.css"):
        with server.connect() as connection:
            connection.sendall(f"GET {path}\r\n\r\n".encode())
            said = connection.makefile("rb").read()
        assert b'"backend"' not in said
        assert b"margin" not in said


def test_http_1_0_without_a_host_header_is_answered_by_the_default_host(server: FrontEndSite) -> None:
    answer = server.send(b"GET /status/x HTTP/1.0\r\n\r\n")
    assert answer.params["SERVER_NAME"] == "console.localhost"
    assert "HTTP_HOST" not in answer.params


def test_the_host_of_an_absolute_request_target_counts(server: FrontEndSite) -> None:
    request = b"GET http://wall.localhost/x HTTP/1.1\r\nHost: console.localhost\r\nConnection: close\r\n\r\n"
    answer = server.send(request)
    assert answer.status == 400 or (answer.params["PATH_INFO"], answer.params["HTTP_HOST"]) == ("/x", "wall.localhost")


@pytest.mark.parametrize("value", ["100-continue-not", "chunked, identity", "gzip"])
def test_odd_transfer_codings_are_refused(server: FrontEndSite, value: str) -> None:
    answer = server.get("console.localhost", "/status/x", f"Transfer-Encoding: {value}", method="POST")
    assert answer.status in (400, 501)


def test_the_back_end_is_told_the_request(server: FrontEndSite) -> None:
    params = server.get("localhost:8080", "/status/a?b=c&d", "X-Custom: 1").params
    assert params["REQUEST_METHOD"] == "GET"
    assert params["QUERY_STRING"] == "b=c&d"
    assert params["HTTP_HOST"] == "localhost:8080"
    assert params["SERVER_NAME"] == "console.localhost"
    assert params["SERVER_PORT"] == str(server.port)
    assert params["REMOTE_ADDR"] == "127.0.0.1"
    assert params["HTTP_X_CUSTOM"] == "1"
    assert params["REQUEST_URI"] == "/status/a?b=c&d"


@pytest.mark.parametrize("name", ["Proxy", "PROXY", "pRoXy"])
def test_a_proxy_header_does_not_become_http_proxy(server: FrontEndSite, name: str) -> None:
    params = server.get("console.localhost", "/status/x", f"{name}: http://evil.example/").params
    assert "HTTP_PROXY" not in params
    assert "evil" not in " ".join(params.values())


def test_a_body_arrives_whole(server: FrontEndSite) -> None:
    body = bytes(range(256)) * 200
    answer = server.get("console.localhost", "/notes/", method="POST", body=body)
    assert answer.params["CONTENT_LENGTH"] == str(len(body))
    assert str(answer.told["body"]).encode("latin-1") == body


def test_a_chunked_body_arrives_with_its_length(server: FrontEndSite) -> None:
    request = (
        b"POST /notes/ HTTP/1.1\r\nHost: console.localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    )
    answer = server.send(request, "POST")
    assert answer.params["CONTENT_LENGTH"] == "11"
    assert answer.told["body"] == "hello world"


def test_a_body_at_the_limit_is_taken_and_one_beyond_is_refused(server: FrontEndSite) -> None:
    at_limit = server.get("console.localhost", "/notes/", method="POST", body=b"x" * 65536)
    assert (at_limit.status, at_limit.params["CONTENT_LENGTH"]) == (200, "65536")
    request = b"POST /notes/ HTTP/1.1\r\nHost: console.localhost\r\nContent-Length: 67000\r\nConnection: close\r\n\r\n"
    assert server.send(request, "POST").status == 413


def test_an_answer_is_passed_on_as_it_comes(server: FrontEndSite) -> None:
    server.echo.release.clear()
    with server.connect() as connection:
        connection.sendall(b"GET /status/stream HTTP/1.1\r\nHost: console.localhost\r\nConnection: close\r\n\r\n")
        response = HTTPResponse(connection)
        response.begin()
        assert response.readline() == b"first\n"
        server.echo.release.set()
        assert response.read() == b"second\n"


SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}


@pytest.mark.parametrize("path", ["/status/x", "/static/app.css", "/", "/nowhere", "/down/x", "/static/.hidden"])
def test_every_answer_carries_the_security_headers_once(server: FrontEndSite, path: str) -> None:
    headers = server.get("console.localhost", path).headers
    for name, value in SECURITY.items():
        assert headers.get_all(name) == [value]
    (policy,) = headers.get_all("Content-Security-Policy") or []
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert headers["Server"] in (None, "nginx")  # nginx cannot leave its name out


def test_a_host_changes_its_headers(server: FrontEndSite) -> None:
    for path in ("/", "/notes/x"):
        headers = server.get("files.localhost", path).headers
        assert headers["X-Frame-Options"] is None
        assert headers["Content-Security-Policy"] == "default-src 'none'"
        assert headers["X-Odd"] == r'"quoted" $value \n ${x};#'
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_static_files_may_be_kept_and_are_revalidated(server: FrontEndSite) -> None:
    first = server.get("console.localhost", "/static/app.css")
    assert first.headers["Cache-Control"] == "public, max-age=300"
    again = server.get("console.localhost", "/static/app.css", f"If-None-Match: {first.headers['ETag']}")
    assert (again.status, again.body) == (304, b"")
    assert server.get("files.localhost", "/").headers["Cache-Control"] == "no-cache"
    assert server.get("console.localhost", "/status/x").headers["Cache-Control"] is None


def test_a_range_of_a_static_file(server: FrontEndSite) -> None:
    answer = server.get("console.localhost", "/static/app.css", "Range: bytes=0-3")
    assert (answer.status, answer.body) == (206, b"body")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("app.css", "text/css; charset=utf-8"),
        ("module.mjs", "text/javascript; charset=utf-8"),
        ("page.xhtml", "application/xhtml+xml"),
        ("two%20words.txt", "text/plain; charset=utf-8"),
        ("unknown.xyz", "application/octet-stream"),
    ],
)
def test_static_files_have_their_media_type(server: FrontEndSite, name: str, media_type: str) -> None:
    assert server.get("console.localhost", f"/static/{name}").headers["Content-Type"] == media_type


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_static_file_cannot_be_changed(server: FrontEndSite, method: str) -> None:
    answer = server.get("console.localhost", "/static/app.css", method=method, body=b"x")
    assert answer.status in (403, 404, 405, 501) or answer.body == b"body { margin: 0 }\n"
    assert server.get("console.localhost", "/static/app.css").body == b"body { margin: 0 }\n"


def test_head_has_no_body(server: FrontEndSite) -> None:
    answer = server.get("console.localhost", "/static/app.css", method="HEAD")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "19")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: lighttpd is started as another user")
def test_it_runs_as_its_user(server: FrontEndSite) -> None:
    status = Path(f"/proc/{server.pid}/status").read_text()
    uid = pwd.getpwnam(UNPRIVILEGED).pw_uid
    assert re.search(rf"^Uid:\t{uid}\t{uid}\t{uid}\t{uid}$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0+$", status, re.MULTILINE)


def test_a_default_host_with_nothing_on_it_refuses_unknown_names(program: str) -> None:
    def write(folder: Path) -> Path:
        file = write_site(folder)
        without = SITE.replace("default = true\n", "")
        file.write_text(without + '[[host]]\nname = "nothing.invalid"\ndefault = true\nbackends = []\n')
        return file

    with FrontEndSite(write, program) as strict:
        for path in ("/", "/status/x", "/static/app.css"):
            assert strict.get("unknown.example", path).status == 404
        assert strict.get("console.localhost", "/status/x").status == 200


def test_its_log_holds_nothing_but_its_start_before_the_first_request(program: str) -> None:
    with FrontEndSite(write_site, program) as fresh:
        lines = fresh.log.read_text().splitlines()
    assert [line for line in lines if "server started" not in line] == []


def test_it_listens_on_the_declared_address_alone(server: FrontEndSite) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", server.port)) != 0
