"""One request as plain CGI: a real process with an environment and pipes, on both twins."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = "from fastcore.flup import WSGIServer; from flup_cases import application; WSGIServer(application{options}).run()"


@pytest.fixture
def run(twin_environment, tmp_path):
    """A function that runs a script as a web server would run it as CGI."""

    def ran(case="hello", body=b"", options="", program=RUN, stdin=None, **environment):
        paths = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "support")))
        inherited = {k: v for k, v in twin_environment.items() if k.startswith(("PATH", "FASTCORE_", "TMPDIR"))}
        request = {"REQUEST_METHOD": "GET", "GATEWAY_INTERFACE": "CGI/1.1", "HTTP_CASE": case, **environment}
        named = {name: value for name, value in request.items() if value is not None}
        return subprocess.run(
            [sys.executable, "-c", program.format(options=options)],
            env={**inherited, "PYTHONPATH": paths, **named},
            cwd=tmp_path,
            capture_output=True,
            timeout=30,
            **({"input": body} if stdin is None else {"stdin": stdin}),
        )

    return ran


def post(body, **more):
    return {"body": body, "REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), **more}


def head_and_body(done):
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), body


def test_one_answer_and_the_end(run):
    done = run()
    assert done.stdout == b"Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    assert (done.returncode, done.stderr) == (0, b"")


def test_environment_is_the_requests_byte_for_byte(run):
    done = run("told", SCRIPT_NAME="/app", PATH_INFO="/caf\u00e9", QUERY_STRING="x=1")
    told = dict(eval(head_and_body(done)[1].decode("latin-1")))
    assert told["PATH_INFO"].encode("latin-1").decode() == "/caf\u00e9"
    assert (told["SCRIPT_NAME"], told["QUERY_STRING"]) == ("/app", "x=1")


def test_flags_and_environ(run):
    done = run("extra", options=", environ={'EXTRA': 'extra'}", HTTPS="on", HTTP_PROXY="http://evil.example")
    assert eval(head_and_body(done)[1]) == ["extra", "https", True]


@pytest.mark.parametrize("size", [0, 1, 70_000, 1_000_000])
def test_body_is_read_to_its_length_and_no_further(run, size):
    body = os.urandom(size)
    done = run("echo", body + b"more", REQUEST_METHOD="POST", CONTENT_LENGTH=str(size))
    assert head_and_body(done)[1] == body


def test_body_is_not_waited_for_without_a_length(run):
    reading, writing = os.pipe()
    try:
        assert head_and_body(run("echo", stdin=reading, REQUEST_METHOD="POST"))[1] == b""
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("unknown", [{"HTTP_TRANSFER_ENCODING": "chunked"}, {"CONTENT_LENGTH": "-1"}])
def test_body_of_unknown_length_ends_with_the_input(run, unknown):
    done = run("lines", b"one\ntwo", REQUEST_METHOD="POST", **unknown)
    assert eval(head_and_body(done)[1]) == (b"one\n", b"tw", [b"o"])


@pytest.mark.parametrize(
    ("length", "status"),
    [("nonsense", b"400 Bad Request"), ("-2", b"400 Bad Request"), ("9" * 12, b"413 Content Too Large")],
)
def test_bad_lengths_are_refused_before_the_application_runs(run, length, status):
    done = run("boom", REQUEST_METHOD="POST", CONTENT_LENGTH=length)
    assert head_and_body(done)[0][0] == b"Status: " + status
    assert done.stderr == b""


def test_body_over_the_limit_of_unknown_length_is_refused(run):
    options = ", limits=__import__('fastcore').Limits(body=10)"
    chunked = {"REQUEST_METHOD": "POST", "HTTP_TRANSFER_ENCODING": "chunked", "options": options}
    assert eval(head_and_body(run("lines", b"x" * 10, **chunked))[1]) == (b"x" * 10, b"", [])
    assert head_and_body(run("lines", b"x" * 11, **chunked))[0][0] == b"Status: 413 Content Too Large"


def test_what_the_application_prints_does_not_disturb_the_answer(run):
    done = run("printing")
    assert done.stdout.startswith(b"Status: 200 OK\r\n")
    assert done.stderr == b"printed by the application\n"


def test_errors_and_exceptions_go_to_standard_error_once(run):
    assert run("complain").stderr == b"a complaint\n"
    done = run("boom")
    assert head_and_body(done)[0][0] == b"Status: 500 Internal Server Error"
    assert b"inner" not in done.stdout
    assert done.stderr.count(b"RuntimeError: inner <text>\n") == 1
    assert b"inner &lt;text&gt;" in run("boom", options=", debug=True").stdout


def test_an_answer_that_is_not_whole_is_a_failure_of_the_process(run):
    done = run("boom_midway")
    assert head_and_body(done)[1] == b"so far "
    assert done.returncode == 1


def test_timeout(run):
    done = run("busy", options=", timeout=0.3", HTTP_SECONDS="20")
    assert head_and_body(done)[0][0] == b"Status: 500 Internal Server Error"
    assert b"TimeoutException" in done.stderr


def test_a_reader_that_goes_is_no_traceback(twin_environment):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        environment = {**twin_environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests/support'}", "REQUEST_METHOD": "GET"}
        done = subprocess.run(
            [sys.executable, "-c", RUN.format(options="")],
            env={**environment, "HTTP_CASE": "big"},
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=30,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


# When it is CGI


def test_a_connected_socket_as_standard_input_is_cgi(run):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"body")
        assert head_and_body(run("echo", stdin=theirs, **post(b"body") | {"body": b""}))[1] == b"body"


@pytest.mark.parametrize("how", [{"options": ", forceCGI=True"}, {"FCGI_FORCE_CGI": "Y"}, {"FCGI_FORCE_CGI": "yes"}])
def test_cgi_may_be_forced_where_nothing_else_says_so(run, how, tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        done = run(stdin=listener, REQUEST_METHOD=None, GATEWAY_INTERFACE=None, **how)
    assert head_and_body(done)[1] == b"hello"


def test_nothing_is_guessed_where_neither_is_so(run):
    done = run(REQUEST_METHOD=None)
    assert done.returncode == 1
    assert b"descriptor 0 is no listening socket, and there is no REQUEST_METHOD" in done.stderr
    assert done.stdout == b""


def test_the_module_named_cgi_returns(run):
    program = RUN.replace("fastcore.flup", "fastcore.flup.server.cgi")
    assert head_and_body(run(program=program))[1] == b"hello"


def test_run_cgi_by_itself(run):
    program = (
        "from fastcore.cgi import run_cgi; from flup_cases import application; raise SystemExit(run_cgi(application))"
    )
    done = run("validated", program=program, SERVER_NAME="localhost", SERVER_PORT="80", QUERY_STRING="", SCRIPT_NAME="")
    assert (head_and_body(done)[1], done.stderr, done.returncode) == (b"hello", b"", 0)
