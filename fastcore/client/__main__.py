"""``python -m fastcore.client ADDRESS /path``: curl for FastCGI.

Exit codes: 0 an answer came (with --fail: and its status is below 400), 1 no answer or a broken one, 2 wrong usage,
22 with --fail for a status of 400 or more.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from http import HTTPStatus
from typing import BinaryIO

from fastcore.addresses import AddressError, parse_address
from fastcore.client.exchange import Body, server_address
from fastcore.client.params import cgi_params
from fastcore.client.sync import Client, StreamedResponse
from fastcore.constants import AUTHORIZER, FILTER, RESPONDER
from fastcore.errors import FastCGIError

DESCRIPTION = """\
Send one request straight to a FastCGI server, without a web server in between, and print its answer.
ADDRESS is unix:/path/of.sock, host:port or [ipv6]:port. The CGI parameters are those that a web server would
send for the request; --param NAME=VALUE adds or replaces one, and --param NAME removes it."""

EXAMPLES = """\
examples:
  python -m fastcore.client unix:/run/app.sock /status
  python -m fastcore.client unix:/run/app.sock -i /status/disks --script-name /status
  python -m fastcore.client 127.0.0.1:9000 /notes -d 'text=hello' -H 'Cookie: a=1'
  python -m fastcore.client 127.0.0.1:9000 /upload -X PUT -d @picture.png -H 'Content-Type: image/png'
  python -m fastcore.client 127.0.0.1:9000 /index.php --param SCRIPT_FILENAME=/var/www/index.php
  python -m fastcore.client unix:/run/app.sock / -v        the parameters sent, and all that came back

What the application wrote to its error stream goes to standard error."""

_ROLES = {"responder": RESPONDER, "authorizer": AUTHORIZER, "filter": FILTER}


def build_parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m fastcore.client",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("address", metavar="ADDRESS", help="unix:/path, host:port or [ipv6]:port")
    add("target", metavar="/path", help="path with query, or a whole http:// URL (gives host, port and scheme too)")
    add("-X", "--request", metavar="METHOD", help="the method; GET by default, POST with -d")
    add("-H", "--header", metavar="'Name: value'", action="append", default=[], help="a request header (repeatable)")
    add("-d", "--data", metavar="DATA", help="the request's body; @FILE reads a file, @- standard input")
    add("-i", "--include", action="store_true", help="print status and headers before the body")
    add("-v", "--verbose", action="store_true", help="tell on standard error what is sent and what comes back")
    add("-f", "--fail", action="store_true", help="exit with 22 for a status of 400 or more")
    add("--param", metavar="NAME=VALUE", action="append", default=[], help="set a CGI parameter; NAME alone removes it")
    add("--script-name", metavar="PREFIX", default="", help="the prefix at which the application is mounted")
    add("--role", choices=sorted(_ROLES), default="responder", help="FastCGI role (default: responder)")
    add("--timeout", type=float, default=30.0, metavar="SECONDS", help="longest wait for one step (default: 30)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        address = server_address(parse_address(arguments.address))
        body, length = _body(arguments.data)
        params = _params(arguments, length)
        client = Client(address, arguments.timeout, keep_alive=False)
    except (AddressError, ValueError) as error:
        parser.error(str(error))
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}")
    try:
        return _run(client, params, body, arguments)
    except FastCGIError as error:
        _write_errors(getattr(error, "errors", b""))
        return _complain(str(error))
    except BrokenPipeError:
        _silence_output()
        return 1
    except KeyboardInterrupt:
        return 130


def _run(client: Client, params: list[tuple[bytes, bytes]], body: Body, arguments: argparse.Namespace) -> int:
    if arguments.verbose:
        for name, value in params:
            print(f"> {name.decode('latin-1')}={value.decode('latin-1')!r}", file=sys.stderr)
    with client.stream(params, body, role=_ROLES[arguments.role]) as response:
        lines = _head_lines(response)
        if arguments.verbose:
            print("".join(f"< {line}\n" for line in lines), end="", file=sys.stderr)
        output = sys.stdout.buffer
        if arguments.include:
            output.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1"))
        for chunk in response:
            output.write(chunk)
            output.flush()
        output.flush()
        _write_errors(response.errors)
        _tell_end(response, arguments.verbose)
        return 22 if arguments.fail and response.status >= 400 else 0


def _params(arguments: argparse.Namespace, length: int | None) -> list[tuple[bytes, bytes]]:
    headers = [_header(text) for text in arguments.header]
    if arguments.data is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    method = arguments.request or ("GET" if arguments.data is None else "POST")
    params = cgi_params(method, arguments.target, headers, body_length=length, script_name=arguments.script_name)
    pairs = {name.encode("latin-1"): value.encode("latin-1") for name, value in params.items()}
    for text in arguments.param:
        name, equals, value = os.fsencode(text).partition(b"=")
        if not name:
            raise ValueError(f"--param {text!r}: write NAME=VALUE")
        if equals:
            pairs[name] = value
        else:
            pairs.pop(name, None)
    return list(pairs.items())


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError(f"-H {text!r}: write 'Name: value'")
    return name.strip(), os.fsencode(value).decode("latin-1")


def _body(data: str | None) -> tuple[Body, int | None]:
    """The body and its length in bytes. Standard input is read to its end, as a server needs the length first."""
    if data is None:
        return b"", None
    if data == "@-":
        content = sys.stdin.buffer.read()
        return content, len(content)
    if data.startswith("@"):
        file: BinaryIO = open(data[1:], "rb")  # noqa: SIM115 - the process ends with the request
        return file, os.fstat(file.fileno()).st_size
    content = os.fsencode(data)
    return content, len(content)


def _head_lines(response: StreamedResponse) -> list[str]:
    try:
        reason = f" {HTTPStatus(response.status).phrase}"
    except ValueError:
        reason = ""
    return [f"Status: {response.status}{reason}", *(f"{name}: {value}" for name, value in response.headers)]


def _tell_end(response: StreamedResponse, verbose: bool) -> None:
    if response.protocol_status:
        reasons = {1: "it cannot multiplex this connection", 2: "it is overloaded", 3: "it does not know the role"}
        reason = reasons.get(response.protocol_status, "for a reason that FastCGI does not define")
        _complain(f"the server refused the request: {reason} (protocolStatus {response.protocol_status})")
    elif response.app_status or verbose:
        print(f"< appStatus {response.app_status}", file=sys.stderr)


def _write_errors(errors: bytes) -> None:
    if errors:
        sys.stderr.write(errors.decode("utf-8", "backslashreplace"))
        if not errors.endswith(b"\n"):
            sys.stderr.write("\n")


def _complain(text: str) -> int:
    print(f"fastcore.client: {text}", file=sys.stderr)
    return 1


def _silence_output() -> None:
    """Let nothing be flushed into a pipe whose reader has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
