"""What fastcore.flup puts between a WSGI application and either twin: environment, exceptions, error(), text."""

from __future__ import annotations

import sys
from wsgiref.validate import validator

import pytest
import wire

from fastcore.flup.gateway import Gateway
from fastcore.flup.server.fcgi import WSGIServer

TEXT = [("Content-Type", "text/plain")]


class Asked(wire.Answer):
    """An answer, and what was logged."""

    log = ""


@pytest.fixture
def ask(twin):
    """A function that sends one request through a server's gateway in this process: no socket, no record."""

    def asked(server, tee_errors=False, **parameters):
        log = []
        pairs = wire.pairs({"REQUEST_METHOD": "GET", "SERVER_NAME": "localhost", "SERVER_PORT": "80"} | parameters)
        request = twin.request.Request(1, 1, False, pairs)
        request.finish_body()
        adapter = twin.wsgi.WSGIAdapter(Gateway(server, tee_errors=tee_errors), multiprocess=server.multiprocess)
        exchange = twin.exchange.Exchange(request, adapter, log.append)
        exchange.start()
        output = errors = b""
        while not exchange.finished:
            output += exchange.next_chunk() or b""
        errors += request.take_errors()
        request.close()
        answer = Asked(output, errors, exchange.app_status, 0)
        answer.log = "\n".join(log)
        return answer

    return asked


def told(*names):
    """An application that answers with a part of its environment."""

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return [repr([environ.get(name) for name in names]).encode("latin-1")]

    return application


def environ_of(answer):
    return eval(answer.body.decode("latin-1"))


def boom(environ, start_response):
    raise RuntimeError("inner <text> & more")


def test_environ_is_added_to_each_request_and_may_change(ask):
    extra = {"NAME": "one", "wsgi.multithread": "never"}
    server = WSGIServer(told("NAME", "wsgi.multithread"), environ=extra)
    assert environ_of(ask(server, NAME="from the client")) == ["one", False]
    extra["NAME"] = "two"
    assert environ_of(ask(server)) == ["two", False]


def test_environ_counts_for_what_is_derived_from_it(ask):
    server = WSGIServer(told("wsgi.url_scheme", "SCRIPT_NAME", "PATH_INFO"), environ={"HTTPS": "on", "SCRIPT_NAME": ""})
    answer = ask(server, SCRIPT_NAME="/a/b", REQUEST_URI="/a/b")
    assert environ_of(answer) == ["https", "", "/a/b"]


@pytest.mark.parametrize(
    ("parameters", "path", "query"),
    [
        ({"PATH_INFO": "/a", "REQUEST_URI": "/other?y"}, "/a", "y"),
        ({"REQUEST_URI": "/a%20b/%C3%A9?x=%20"}, "/a b/\xc3\xa9", "x=%20"),
        ({"SCRIPT_NAME": "/app", "REQUEST_URI": "/app/a?x"}, "/a", "x"),
        ({"SCRIPT_NAME": "/a b", "REQUEST_URI": "/a%20b/c"}, "/c", ""),
        ({"REQUEST_URI": "http://example.org:80/a?x"}, "/a", "x"),
        ({"REQUEST_URI": "http://example.org"}, "/", ""),
        ({"REQUEST_URI": "/a?x", "QUERY_STRING": "kept"}, "/a", "kept"),
        ({"REQUEST_URI": "/a?x?y"}, "/a", "x?y"),
        ({"REQUEST_URI": "*"}, "*", ""),
        ({"REQUEST_URI": ""}, "", ""),
        ({}, "", ""),
    ],
)
def test_path_and_query_are_filled_in_where_the_front_end_gave_none(ask, parameters, path, query):
    assert environ_of(ask(WSGIServer(told("PATH_INFO", "QUERY_STRING")), **parameters)) == [path, query]


def test_a_script_name_that_does_not_fit_is_told_and_nothing_is_cut_off(ask):
    answer = ask(WSGIServer(told("SCRIPT_NAME", "PATH_INFO")), SCRIPT_NAME="/app", REQUEST_URI="/elsewhere")
    assert environ_of(answer) == ["/app", ""]
    assert answer.stderr == b"SCRIPT_NAME '/app' does not begin REQUEST_URI '/elsewhere'\n"


def test_wsgi_flags_say_what_is_true(ask):
    flags = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")
    assert environ_of(ask(WSGIServer(told(*flags)))) == [False, False, False]
    assert environ_of(ask(WSGIServer(told(*flags), multiprocess=True))) == [False, True, False]
    assert environ_of(ask(WSGIServer(told(*flags), maxChildren=2))) == [False, True, False]


def test_without_debug_an_exception_shows_nothing_inner(ask):
    answer = ask(WSGIServer(boom))
    assert answer.status == 500
    assert b"inner" not in answer.stdout
    assert b"Traceback" not in answer.stdout
    assert b"RuntimeError: inner <text> & more" in answer.stderr
    assert "RuntimeError: inner <text> & more" in answer.log


def test_with_debug_it_is_an_escaped_traceback_from_the_applications_first_line_on(ask):
    answer = ask(WSGIServer(boom, debug=True))
    assert answer.status == 500
    assert b"\r\nContent-Type: text/html; charset=utf-8" in answer.head
    assert b"RuntimeError: inner &lt;text&gt; &amp; more\n</pre>" in answer.body
    assert b"fastcore/flup" not in answer.body
    assert b"RuntimeError: inner <text> & more" in answer.stderr


def test_with_debug_an_iterator_that_fails_before_its_first_piece(ask):
    def application(environ, start_response):
        start_response("200 OK", [*TEXT, ("Content-Length", "5")])
        yield b""
        raise RuntimeError("early")

    answer = ask(WSGIServer(application, debug=True))
    assert (answer.status, answer.app_status) == (500, 0)
    assert b"RuntimeError: early" in answer.body


def test_with_debug_what_has_been_sent_stays_and_no_page_follows(ask):
    def application(environ, start_response):
        start_response("200 OK", TEXT)
        yield b"so far"
        raise RuntimeError("late")

    answer = ask(WSGIServer(application, debug=True))
    assert (answer.status, answer.body, answer.app_status) == (200, b"so far", 1)


def test_with_debug_what_was_given_to_write_is_not_mixed_with_a_traceback(ask):
    def application(environ, start_response):
        start_response("200 OK", TEXT)(b"written")
        raise RuntimeError("after write()")

    answer = ask(WSGIServer(application, debug=True))
    assert b"after write()" not in answer.stdout


def test_error_of_a_subclass_makes_the_page(ask):
    seen = []

    class Mine(WSGIServer):
        def error(self, req):
            seen.append((sys.exc_info()[0], req.params["PATH_INFO"], req.server is self))
            req.stderr.write("told\n")
            req.stdout.write("Status: 503 Later\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n\r\n")
            req.stdout.write(b"come back\r\n\r\nlater")

    answer = ask(Mine(boom), PATH_INFO="/x")
    assert seen == [(RuntimeError, "/x", True)]
    assert answer.head.startswith(b"Status: 503 Later\r\n")
    assert b"Retry-After: 5" in answer.head
    assert answer.body == b"come back\r\n\r\nlater"
    assert answer.stderr.endswith(b"told\n")


@pytest.mark.parametrize("output", ["", "no head", "no colon\n\nbody", "Content-Type: text/plain\n\nplain newlines"])
def test_error_of_a_subclass_that_writes_something_else(ask, output):
    class Mine(WSGIServer):
        def error(self, req):
            req.stdout.write(output)

    answer = ask(Mine(boom))
    assert answer.status == 500
    assert answer.body == (b"plain newlines" if "plain" in output else b"500 Internal Server Error\n")


def test_error_of_a_subclass_that_fails_itself(ask):
    class Mine(WSGIServer):
        def error(self, req):
            raise ValueError("in error()")

    answer = ask(Mine(boom))
    assert (answer.status, answer.body) == (500, b"500 Internal Server Error\n")
    assert "ValueError: in error()" in answer.log


def test_sys_exit_is_a_failure_of_one_request(ask):
    def application(environ, start_response):
        sys.exit("bye")

    answer = ask(WSGIServer(application, debug=True))
    assert answer.status == 500
    assert b"SystemExit: bye" in answer.body


def test_text_is_latin_1_and_other_text_or_things_are_failures(ask):
    for piece, status in (("\xe9", 200), (b"\xe9", 200), ("\u20ac", 500), (7, 500), (None, 500)):
        for body in ([piece], [b"", piece], iter((piece,))):

            def application(environ, start_response, body=body):
                start_response("200 OK", TEXT)
                return body

            answer = ask(WSGIServer(application))
            assert answer.status == status
            if status == 200:
                assert answer.body == b"\xe9"


def test_nothing_returned_is_a_failure(ask):
    def application(environ, start_response):
        start_response("200 OK", TEXT)

    assert ask(WSGIServer(application)).status == 500


def test_close_is_called_once_whatever_happens(ask):
    closed = []

    class Body:
        def __init__(self, pieces):
            self.pieces = pieces

        def __iter__(self):
            for piece in self.pieces:
                if piece is None:
                    raise RuntimeError("in the iterator")
                yield piece

        def close(self):
            closed.append(self.pieces)

    for pieces in ([b"a", b"b"], [], [None], [b"a", None], [""]):

        def application(environ, start_response, pieces=pieces):
            start_response("200 OK", TEXT)
            return Body(pieces)

        for debug in (False, True):
            ask(WSGIServer(application, debug=debug))
    assert closed == [pieces for pieces in ([b"a", b"b"], [], [None], [b"a", None], [""]) for _ in range(2)]


def test_close_is_called_where_there_is_no_iterator(ask):
    closed = []

    class Body:
        def __iter__(self):
            raise RuntimeError("no iterator")

        def close(self):
            closed.append(True)

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return Body()

    for debug in (False, True):
        assert ask(WSGIServer(application, debug=debug)).status == 500
    assert closed == [True, True]


def test_file_wrapper_is_passed_on_as_it_is(ask, tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)

    def application(environ, start_response):
        start_response("200 OK", TEXT)
        return environ["wsgi.file_wrapper"](open(tmp_path / "file", "rb"))

    assert ask(WSGIServer(application)).body == (tmp_path / "file").read_bytes()


def test_errors_go_to_two_streams_where_the_server_opened_its_socket(ask, capsys):
    def application(environ, start_response):
        errors = environ["wsgi.errors"]
        errors.write("one\n")
        errors.writelines(["two\n", "three\n"])
        errors.flush()
        start_response("200 OK", TEXT)
        return [b"x"]

    assert ask(WSGIServer(validator(application)), tee_errors=True, QUERY_STRING="").stderr == b"one\ntwo\nthree\n"
    assert capsys.readouterr().err == "one\ntwo\nthree\n"
    assert ask(WSGIServer(validator(application)), QUERY_STRING="").stderr == b"one\ntwo\nthree\n"
    assert capsys.readouterr().err == ""
