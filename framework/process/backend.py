"""One back end: a fresh interpreter, its user already, that takes its listener, imports its application and serves.

    python -m framework.process.backend NAME               as the supervisor starts it: spec on descriptor 0, LISTEN_FDS
    python -m framework.process.backend --spec FILE        the same under systemd socket activation, without reloads
    python -m framework.process.backend --spec FILE --bind unix:/path     without a listener from outside

It proves its privileges before it imports anything of the application. An application that cannot be imported is
one clear message and exit code 78 (EX_CONFIG of sysexits.h); wrong privileges are exit code 77 (EX_NOPERM).
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from framework.process import notify
from framework.process.onimport import when_imported
from framework.process.outputs import WorkerOutputs
from framework.process.spec import MAX_SPEC_BYTES, MAX_TABLE_BYTES, Spec, SpecError, parse

if TYPE_CHECKING:
    from fastcore import Limits

__all__ = ["EXIT_CONFIG", "EXIT_PRIVILEGES", "BackendError", "load_application", "main"]

EXIT_CONFIG = 78
EXIT_PRIVILEGES = 77
LISTEN_FD = 3
_WATCHDOG = ("WATCHDOG_USEC", "WATCHDOG_PID")

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_LIBRARIES = (os.path.join(_ROOT, "framework", ""), os.path.join(_ROOT, "fastcore", ""))

USAGE = "usage: python -m framework.process.backend [NAME] [--spec FILE] [--bind ADDRESS] [--describe [--types]]"


class BackendError(Exception):
    """Why a back end cannot run, in one line; `detail` is the traceback for the log."""

    def __init__(self, message: str, detail: str = "", code: int = EXIT_CONFIG) -> None:
        super().__init__(message)
        self.detail = detail
        self.code = code


class Options(NamedTuple):
    """The command line. `name` only shows in process lists."""

    name: str = ""
    spec: str | None = None
    bind: str | None = None
    describe: bool = False
    types: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Run a back end until it is told to stop. Returns its exit code."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    notify_address = os.environ.get("NOTIFY_SOCKET", "")
    name = options.name
    try:
        spec = _read_spec(options.spec)
        name = spec.backend
        _end_with_keeper(notify_address)
        _confine(spec)
        _prove(spec)
        if options.describe:
            _describe(spec, _types_of if options.types else _table_of)
        else:
            _serve(spec, options.bind, notify_address)
    except BackendError as error:
        print(f"ERROR back end {name!r}: {error}", file=sys.stderr)
        if error.detail:
            print(error.detail, file=sys.stderr)
        notify.send(f"STATUS={error}\nERRNO={error.code}", notify_address)
        return error.code
    return 0


def _options(arguments: list[str]) -> Options:
    chosen: dict[str, Any] = {}
    words = iter(arguments)
    for word in words:
        if word in ("--spec", "--bind"):
            chosen[word[2:]] = next(words, None) or _usage()
        elif word in ("--describe", "--types"):
            chosen[word[2:]] = True
        elif word.startswith("-") or "name" in chosen:
            _usage()
        else:
            chosen["name"] = word
    return Options(**chosen)


def _usage() -> NoReturn:
    print(USAGE, file=sys.stderr)
    raise SystemExit(2)


def _read_spec(file: str | None) -> Spec:
    try:
        with open(file if file is not None else 0, "rb", closefd=file is not None) as stream:
            data = stream.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        raise BackendError(f"the spec cannot be read: {error.strerror} ({file or 'standard input'})") from None
    if len(data) > MAX_SPEC_BYTES:
        raise BackendError(f"the spec is larger than {MAX_SPEC_BYTES} bytes")
    try:
        return parse(data)
    except SpecError as error:
        raise BackendError(str(error)) from None


def _end_with_keeper(notify_address: str) -> None:
    """Where a keeper has started this process (`framework.process.keeper`): it does not outlive it."""
    if notify_address.startswith("fd:"):
        from framework.process import linux

        linux.parent_death_signal(signal.SIGKILL)
        os.set_inheritable(int(notify_address[3:]), False)
        if not notify.send("STATUS=starting", notify_address):  # it ended before the kernel was told
            os._exit(0)


def _confine(spec: Spec) -> None:
    """Close by itself what a service manager cannot close for it: files and system calls, as declared in the spec."""
    if spec.confinement is None:
        return
    from framework.process.confine import ConfineError, confine

    try:
        print(f"<6>{confine(spec.confinement, os.environ.get('CREDENTIALS_DIRECTORY', ''))}", file=sys.stderr)
    except ConfineError as error:
        raise BackendError(f"does not start, it cannot be confined: {error}", code=EXIT_PRIVILEGES) from None


def _prove(spec: Spec) -> None:
    if spec.privileges is None:
        return
    from framework.process.proof import prove

    problems = prove(spec.privileges)
    if problems:
        raise BackendError(
            "does not start, its rights are not as declared: " + "; ".join(problems), code=EXIT_PRIVILEGES
        )


def _serve(spec: Spec, bind: str | None, notify_address: str) -> None:
    from fastcore import serve
    from fastcore.listeners import ListenerError

    listener = _listener() if bind is None else bind
    every = _watchdog()
    outputs = None if spec.output_fd is None else WorkerOutputs(spec.output_fd, spec.workers)
    _keep_from_application(spec)
    when_imported("logging", lambda: _configure_logging(spec.development))  # it costs 0.9 MB, and many log nothing
    application = load_application(spec)
    native = _mount(application, spec)
    _write_table(_table_of(application) if native else [], spec)
    _check_health(application, spec)
    _end_workers_with_us(bool(spec.workers > 1 or spec.max_requests or spec.max_memory))
    if every:  # a watchdog ends what is stuck by SIGABRT: it shows where it was
        import faulthandler

        faulthandler.enable()
    gc.collect()
    gc.freeze()

    def say_ready() -> None:
        notify.send("READY=1\nSTATUS=serving", notify_address)

    def say_stopping() -> None:
        notify.send("STOPPING=1\nSTATUS=finishing what has begun", notify_address)

    def say_alive() -> None:
        notify.send("WATCHDOG=1", notify_address)

    try:
        serve(
            application,
            listener,
            interface="native" if native else "wsgi",
            workers=spec.workers,
            min_workers=spec.min_workers,
            idle_exit=spec.idle_exit,
            limits=_limits(spec),
            max_requests=spec.max_requests,
            max_memory=spec.max_memory,
            allow_uids=spec.allow_uids,
            on_ready=say_ready,
            on_stop=say_stopping,
            heartbeat=(every, say_alive) if every else None,
            on_worker=outputs.take if outputs is not None else None,
            on_worker_end=outputs.end if outputs is not None else None,
            scoreboard=-1 if spec.scoreboard_fd is None else spec.scoreboard_fd,
        )
    except ListenerError as error:
        raise BackendError(str(error)) from None


def _limits(spec: Spec) -> Limits:
    from fastcore import Limits

    return Limits(body=spec.max_request_size, request_timeout=spec.request_timeout, slow_request_ms=spec.slow_request)


def _describe(spec: Spec, rows_of: Callable[[Any], list[dict[str, Any]]]) -> None:
    import json

    _keep_from_application(spec)
    try:
        application = load_application(spec)
        _write_table(rows_of(application) if _mount(application, spec) else [], spec)
    except BackendError as error:
        _write_pipe(json.dumps({"error": str(error)}).encode(), spec)
        raise


# ---- what the parent gave ------------------------------------------------------------------------


def _listener() -> socket.socket:
    """The listener that was passed as descriptor 3 (sd_listen_fds(3))."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or os.environ.get("LISTEN_FDS") != "1":
        raise BackendError("no listener was passed (LISTEN_FDS, LISTEN_PID); give one with --bind ADDRESS")
    try:
        listener = socket.socket(fileno=LISTEN_FD)
        accepting = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise BackendError(f"descriptor {LISTEN_FD} is not a socket: {error.strerror}") from None
    if not accepting:
        raise BackendError(f"descriptor {LISTEN_FD} is a socket that does not listen")
    listener.set_inheritable(False)
    return listener


def _watchdog() -> float:
    """Seconds between two signs of life that the service manager wants, half of what it waits; 0 for none."""
    try:
        if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return 0.0
        return max(int(os.environ.get("WATCHDOG_USEC", "0")), 0) / 2e6
    except ValueError:
        return 0.0


def _keep_from_application(spec: Spec) -> None:
    """Keep how we were started from the application: the variables, the spec on descriptor 0, the pipe."""
    for name in ("NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "PYTHONPATH", *_WATCHDOG):
        os.environ.pop(name, None)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    for number in (spec.urls_fd, spec.scoreboard_fd):
        if number is not None:
            os.set_inheritable(number, False)


def _end_workers_with_us(forks: bool) -> None:
    """Have the kernel kill what this process forks when it dies, however that happens; not what those fork in turn.

    Where only the application could fork, the calls for it are imported when it does: ctypes costs 0.4 MB.
    """
    if forks:
        import framework.process.linux  # noqa: F401 (before the fork: all workers share its memory)

    parent, first_generation = os.getpid(), True

    def in_child() -> None:
        nonlocal first_generation
        if first_generation:
            first_generation = False
            from framework.process import linux

            linux.parent_death_signal(signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(0)

    os.register_at_fork(after_in_child=in_child)


def _configure_logging(development: bool) -> None:
    import logging

    from framework.process.levels import Prefixed

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s") if development else Prefixed())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if development else logging.INFO)


# ---- the application -----------------------------------------------------------------------------


def load_application(spec: Spec) -> Any:
    """Import "module:object" with the spec's folders first on sys.path.

    Raises BackendError that names module, file and line.
    """
    folders = [folder for folder in spec.path if folder not in sys.path]
    sys.path[:0] = folders
    module_name, _, path = spec.application.partition(":")
    try:
        found: Any = import_module(module_name)
    except (Exception, SystemExit) as error:
        raise _import_error(spec, module_name, error) from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            where = getattr(sys.modules[module_name], "__file__", None) or module_name
            raise BackendError(f"{spec.application}: {where} has no object {name!r}{_similar(name, found)}") from None
    if not callable(found):
        raise BackendError(f"{spec.application} is {type(found).__name__}, not an application: it cannot be called")
    return found


def _similar(name: str, module: object) -> str:
    import difflib

    near = difflib.get_close_matches(name, [known for known in dir(module) if not known.startswith("_")], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _import_error(spec: Spec, module: str, error: BaseException) -> BackendError:
    place = _place_of(error)
    if (
        isinstance(error, ModuleNotFoundError)
        and not place
        and error.name
        and (module + ".").startswith(error.name + ".")
    ):
        looked = ", ".join(spec.path) or "no folder: set 'path' in the site file"
        return BackendError(f"cannot import {module!r}: there is no module {error.name!r} in {looked}")
    reason = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else _in_one_line(error)}"
    return BackendError(f"cannot import {module!r}: {reason}" + (f" ({place})" if place else ""), _detail(error))


def _in_one_line(error: BaseException) -> str:
    """The message without the lines that hold a caret alone; these are in the detail."""
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip(" ^"))


def _place_of(error: BaseException) -> str:
    """file:line where the import went wrong, "" where it never came to the application's own code.

    What a library of ours refuses, such as a bad URL table, is told with the line that called it.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    import traceback

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame.filename)]
    own = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)] or frames
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def _is_machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen importlib") or "/importlib/" in filename


def _detail(error: BaseException) -> str:
    import traceback

    shown = traceback.TracebackException.from_exception(error)
    shown.stack = traceback.StackSummary.from_list(
        [frame for frame in shown.stack if not _is_machinery(frame.filename)]
    )
    return "".join(shown.format()).rstrip()


def _mount(application: Any, spec: Spec) -> bool:
    """Tell a framework App where it is; False for any other WSGI callable."""
    module = sys.modules.get("framework.app")
    if module is None or not isinstance(application, module.App):
        return False
    from framework.site.tree import SiteTree

    tree = SiteTree.from_spec(spec.tree)
    mounts = [list(mount) for mount in spec.mounts]
    try:
        application.mount(tree, spec.backend, mounts=mounts, development=spec.development)
    except Exception as error:
        reason = f"{spec.application} cannot be mounted: {type(error).__name__}: {error}"
        raise BackendError(reason, _detail(error)) from error
    return True


def _check_health(application: Any, spec: Spec) -> None:
    """Ask the application for its own health before anybody else may ask it anything. Raises BackendError.

    It is called in this process, as a WSGI application, so that nothing else can be in the way.
    """
    if not spec.health:
        return
    from wsgiref.util import setup_testing_defaults

    host, prefix = spec.mounts[0] if spec.mounts else ("localhost", "")
    environ: dict[str, Any] = {"HTTP_HOST": host, "SCRIPT_NAME": prefix, "PATH_INFO": spec.health, "QUERY_STRING": ""}
    setup_testing_defaults(environ)
    said: list[str] = []
    try:
        body = application(environ, lambda status, headers, *_: said.append(status))
        text = b"".join(body)
        getattr(body, "close", lambda: None)()
    except Exception as error:
        raise BackendError(f"its health cannot be asked at {spec.health}: {error!r}", _detail(error)) from error
    if not said or not said[-1].startswith("2"):
        answer = f"{said[-1] if said else 'nothing'}: {text.decode('utf-8', 'replace')[:200].strip()}"
        raise BackendError(f"is not healthy: {spec.health} answers {answer}")


def _table_of(application: Any) -> list[dict[str, Any]]:
    table: list[dict[str, Any]] = application.urls.describe()
    return table


def _types_of(application: Any) -> list[dict[str, Any]]:
    """The TypeScript declarations of each Proxy of the URL table, in place of the handler's name."""
    rows = []
    for row, handler in zip(application.urls.describe(), application.urls.handlers(), strict=True):
        declarations = getattr(handler, "declarations", None)
        if declarations is not None:
            rows.append({**row, "handler": declarations()})
    return rows


def _write_table(table: list[dict[str, Any]], spec: Spec) -> None:
    import json

    data = json.dumps(table).encode()
    if len(data) > MAX_TABLE_BYTES:
        raise BackendError(f"its URL table has {len(data)} bytes, more than {MAX_TABLE_BYTES}: give it fewer routes")
    _write_pipe(data, spec)


def _write_pipe(data: bytes, spec: Spec) -> None:
    if spec.urls_fd is None:
        return
    with open(spec.urls_fd, "wb") as pipe:
        pipe.write(data)


if __name__ == "__main__":
    raise SystemExit(main())
