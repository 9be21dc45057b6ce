"""`python -m fastcore`: serve one application over FastCGI from the command line."""

from __future__ import annotations

import importlib
import marshal
import os
import sys
from types import SimpleNamespace

from fastcore import __version__
from fastcore.limits import DEFAULT_LIMITS, LIMIT_NAMES, Limits

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    import argparse
    import signal
    from collections.abc import Sequence
    from typing import Any
else:
    import _signal as signal  # the same without its enums, which cost every server 0.7 MB

PROGRAM = "python -m fastcore"

_EPILOG = """\
addresses:
  unix:/run/app.sock   a unix socket, mode 0660 (--socket-mode, --socket-group, --socket-owner)
  127.0.0.1:9000       a TCP port; only loopback addresses may connect (--allow-host)
  fd:0                 a listening socket inherited as descriptor 0 (lighttpd's bin-path, spawn-fcgi)
  systemd:             the socket of a systemd socket unit (LISTEN_FDS); systemd:NAME where there are several

who may connect:
  to a unix socket     the users that its mode lets in; with --allow-uid only these of them, checked by the kernel
  over TCP             --allow-host, else the list in the environment's FCGI_WEB_SERVER_ADDRS, else loopback only

examples:
  python -m fastcore --bind unix:/run/app.sock --workers 2 mysite.wsgi:application
  python -m fastcore --bind unix:/run/app.sock --socket-group www-data --allow-uid 33 mysite.wsgi:application
  python -m fastcore --bind 127.0.0.1:9000 --interface native hello:app
  python -m fastcore.client unix:/run/app.sock /some/path        (asks it something)

signals:
  SIGTERM, SIGINT, SIGUSR1 end it when the running requests are answered; a second one interrupts them; a third one
  ends an application that does not heed that either.
"""


def _mode(text: str) -> int:
    from argparse import ArgumentTypeError

    try:
        mode = int(text, 8)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no octal mode such as 0660") from None
    if not 0 <= mode <= 0o777:
        raise ArgumentTypeError(f"{text} is outside 0000 to 0777")
    return mode


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Serve one Python application over FastCGI, behind lighttpd, nginx, Apache, HAProxy or Caddy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "application", metavar="MODULE:CALLABLE", help="the application, such as mysite.wsgi:application"
    )
    parser.add_argument(
        "--bind", required=True, metavar="ADDRESS", help="where to listen: unix:/path, host:port, fd:0 or systemd:"
    )
    parser.add_argument(
        "--interface", choices=("wsgi", "native"), default="wsgi", help="what the application is (default: wsgi)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes on the listener (default: 1)")
    parser.add_argument(
        "--min-workers",
        type=int,
        default=0,
        metavar="N",
        help="so many workers while there is no more to do, --workers at most",
    )
    parser.add_argument(
        "--idle-exit",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="after which a worker more than --min-workers ends (60)",
    )
    parser.add_argument(
        "--max-requests",
        type=int,
        default=0,
        metavar="N",
        help="replace a worker that has answered about so many, up to a tenth fewer (default: 0, never)",
    )
    parser.add_argument(
        "--socket-mode", type=_mode, default=0o660, metavar="MODE", help="of a unix socket (default: 0660)"
    )
    parser.add_argument("--socket-group", metavar="GROUP", help="group of a unix socket, such as www-data")
    parser.add_argument(
        "--socket-owner", metavar="USER", help="user that owns a unix socket; only root may give it away"
    )
    parser.add_argument(
        "--allow-uid",
        type=int,
        action="append",
        metavar="UID",
        help="user id that may connect to a unix socket; repeat for more",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        metavar="IP",
        help="address that may connect over TCP; repeat for more (default: FCGI_WEB_SERVER_ADDRS, else loopback)",
    )
    parser.add_argument(
        "--event-loop",
        choices=("auto", "asyncio", "uvloop"),
        default="auto",
        help="in which coroutines of a native application run (default: uvloop where it is installed)",
    )
    parser.add_argument("--path", default=".", metavar="DIR", help="put first on the module search path (default: .)")
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help=f"one of {', '.join(LIMIT_NAMES)}; repeat for more",
    )
    parser.add_argument(
        "--role",
        action="append",
        type=lambda text: text.split(","),
        metavar="ROLE",
        help="what the application is: responder, authorizer, filter; repeat or use commas (default: responder)",
    )
    parser.add_argument(
        "--overload",
        choices=("protocol", "page"),
        default="protocol",
        help="over the limit of requests on one connection: FCGI_OVERLOADED or a 503 page (default: protocol)",
    )
    parser.add_argument(
        "--spool-dir", metavar="DIR", help="where the temporary files of long bodies go (default: $TMPDIR or /tmp)"
    )
    parser.add_argument(
        "--stream-body", action="store_true", help="call the application before its body has come; it reads as it comes"
    )
    parser.add_argument(
        "--script-name",
        metavar="PATH",
        help='where a WSGI application is mounted, such as /shop or "": sets SCRIPT_NAME and PATH_INFO right',
    )
    parser.add_argument(
        "--errors",
        choices=("stderr", "log"),
        default="stderr",
        help="where wsgi.errors goes: to the front end (default) or to standard error, this server's log",
    )
    parser.add_argument("--version", action="version", version=f"fastcore {__version__}")
    return parser


class NoApplication(ValueError):
    """What the command line names as the application is none."""


def load_application(name: str) -> Any:
    """The object that ``"module:object"`` names. Raises NoApplication, with the reason, where there is none."""
    module_name, separator, attributes = name.partition(":")
    if not separator or not module_name or not attributes:
        raise NoApplication(
            f"{name!r} does not name an application: write MODULE:CALLABLE, such as mysite.wsgi:application"
        )
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise NoApplication(
                f"there is no module {error.name!r} on the path {sys.path[0]!r} or where Python looks"
            ) from None
        raise
    for attribute in attributes.split("."):
        try:
            found = getattr(found, attribute)
        except AttributeError:
            raise NoApplication(f"module {module_name!r} has no {attributes!r}") from None
    if not callable(found):
        raise NoApplication(f"{name} is a {type(found).__name__}, which cannot be called")
    return found


def parse_limits(settings: Sequence[str]) -> Limits:
    """`["body=1048576"]` as Limits. Raises ValueError with the name that is wrong."""
    values: dict[str, int] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in LIMIT_NAMES:
            raise ValueError(f"there is no limit {name!r}; there are {', '.join(sorted(LIMIT_NAMES))}")
        if not (value.isascii() and value.isdigit()):
            raise ValueError(f"limit {name} is a positive whole number, not {value!r}")
        values[name] = int(value)
    return Limits(**values) if values else DEFAULT_LIMITS


def _parse_apart() -> SimpleNamespace:
    """This process's arguments, parsed by a child: argparse costs 0.8 MB, which a server would keep while it runs."""
    reader, writer = os.pipe()
    on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would leave no status
    child = os.fork()
    if child == 0:
        values = vars(_parser().parse_args())  # --help and mistakes end the child here, with their text and status
        with open(writer, "wb") as pipe:
            marshal.dump(values, pipe)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.signal(signal.SIGCHLD, on_child)
    if status or not told:
        sys.exit(status)
    return SimpleNamespace(**marshal.loads(told))  # noqa: S302 (from ourselves)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 after a signal, 1 for what went wrong, 2 for usage."""
    arguments: Any = _parse_apart() if argv is None else _parser().parse_args(argv)
    sys.path.insert(0, os.path.abspath(arguments.path))
    from fastcore import accelerated, serve
    from fastcore.log import stderr_log

    def on_ready() -> None:
        speed = "compiled" if accelerated else "pure Python: slower; see FASTCORE_REQUIRE_COMPILED"
        count = "1 worker" if arguments.workers == 1 else f"{arguments.workers} workers"
        stderr_log(f"{arguments.application} on {arguments.bind}: {arguments.interface}, {count}, {speed}")

    try:
        application = load_application(arguments.application)
    except NoApplication as error:  # what its module raises keeps its traceback
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    try:
        limits = parse_limits(arguments.limit)
        serve(
            application,
            arguments.bind,
            interface=arguments.interface,
            workers=arguments.workers,
            limits=limits,
            socket_mode=arguments.socket_mode,
            socket_group=arguments.socket_group,
            socket_owner=arguments.socket_owner,
            allow_uids=arguments.allow_uid,
            allow_hosts=arguments.allow_host,
            on_ready=on_ready,
            roles=[role for roles in arguments.role or [["responder"]] for role in roles],
            overload=arguments.overload,
            spool_directory=arguments.spool_dir,
            max_requests=arguments.max_requests,
            min_workers=arguments.min_workers,
            idle_exit=arguments.idle_exit,
            event_loop=arguments.event_loop,
            stream_body=arguments.stream_body,
            script_name=arguments.script_name,
            errors=arguments.errors,
        )
    except (ValueError, OSError) as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        from fastcore.errors import FastCGIError

        if not isinstance(error, FastCGIError):
            raise
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
