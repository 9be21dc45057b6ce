"""One application on one listener, served by N processes: what `serve()` and `python -m fastcore` do."""

from __future__ import annotations

import os
import sys
import time
from _socket import AF_UNIX

from fastcore import implementation
from fastcore.addresses import WEB_SERVER_ADDRESSES, allowed_addresses
from fastcore.constants import AUTHORIZER, FILTER, RESPONDER
from fastcore.limits import DEFAULT_LIMITS, MIB, Limits
from fastcore.listeners import OwnedPath, open_listener
from fastcore.log import stderr_log
from fastcore.spool import check_directory
from fastcore.workers import END_SIGNALS, Prefork

TYPE_CHECKING = False  # as in typing, whose import costs every server half a megabyte
if TYPE_CHECKING:
    import signal
    import socket
    from collections.abc import Callable, Collection, Sequence
    from types import FrameType
    from typing import Any, Literal

    from fastcore.asynchronous import EventLoopName
    from fastcore.log import Log
    from fastcore.pulse import Pulse

    Interface = Literal["wsgi", "native"]
    Role = Literal["responder", "authorizer", "filter"]
else:
    import _signal as signal  # the same without its enums, which cost every server 0.7 MB

ROLES: dict[str, int] = {"responder": RESPONDER, "authorizer": AUTHORIZER, "filter": FILTER}
EVENT_LOOPS = ("auto", "asyncio", "uvloop")


def serve(
    app: Any,
    bind: str | socket.socket,
    *,
    interface: Interface = "wsgi",
    workers: int = 1,
    limits: Limits = DEFAULT_LIMITS,
    socket_mode: int = 0o660,
    socket_group: str | int | None = None,
    socket_owner: str | int | None = None,
    allow_uids: Collection[int] | None = None,
    allow_hosts: Collection[str] | None = None,
    on_ready: Callable[[], None] | None = None,
    on_stop: Callable[[], None] | None = None,
    heartbeat: tuple[float, Callable[[], object]] | None = None,
    on_worker: Callable[[int], None] | None = None,
    on_worker_end: Callable[[int], None] | None = None,
    min_workers: int = 0,
    idle_exit: float = 60.0,
    log: Log = stderr_log,
    max_requests: int = 0,
    max_memory: int = 0,
    end_signals: Collection[signal.Signals] = END_SIGNALS,
    roles: Sequence[Role] = ("responder",),
    overload: Literal["protocol", "page"] = "protocol",
    spool_directory: str | None = None,
    event_loop: EventLoopName = "auto",
    stream_body: bool = False,
    script_name: str | None = None,
    errors: Literal["stderr", "log"] = "stderr",
    scoreboard: int = -1,
) -> int:
    """Serve an application over FastCGI until a signal; returns its number.

    The first signal drains. A second one forces: what runs is interrupted (KeyboardInterrupt), and closed. A third ends
    the process where it stands, with status 128 and the signal's number.

    Args:
        app: a WSGI application (PEP 3333), or a native one: `app(request)`.
        bind: `unix:/path`, `host:port`, `fd:0`, `systemd:` or `systemd:NAME` (socket activation), or a
            listening socket.
        interface: which of the two `app` is.
        workers: processes on the listener. With 1, this process serves by itself.
        limits: what a client may ask of each worker.
        socket_mode, socket_group, socket_owner: permission bits, group and user of a unix socket that is made here.
        allow_uids: user ids that may connect to a unix socket; None for all that its mode lets in.
        allow_hosts: numeric addresses that may connect over TCP; None for those that FCGI_WEB_SERVER_ADDRS lists
            (FastCGI 1.0 §3.2), or loopback only where the environment has no such variable.
        on_ready: called once when the listener is open and connections are taken.
        on_stop: called once when the first end signal has come, before what runs is finished. Not in workers.
        heartbeat: seconds, and what is called so often (sd_notify's WATCHDOG=1). Where one process serves by itself,
            by its loop: not while a call is stuck, so that who waits for it notices. Else by the parent of the workers.
        min_workers: with 1 or more there are only so many workers while there is no more to do; `workers` is the most
            there ever are. 0 for always `workers`.
        idle_exit: seconds without a request after which a worker beyond `min_workers` ends.
        on_worker: called first in each worker that is forked, with its number: the lowest that no other one has.
        on_worker_end: called in the parent when that one has ended.
        log: takes one text without a newline.
        max_requests: a worker that has answered about so many, up to a tenth fewer, is replaced; 0 for never. There is
            a parent process then, even with one worker.
        max_memory: bytes of resident memory (shared pages count too). A worker that has used more, at any time,
            finishes what has begun and is replaced; looked at after each call. 0 for no limit. There is a parent
            process then, too.
        end_signals: those that end it: SIGTERM, SIGINT and SIGUSR1.
        roles: what the application is for: "responder", "authorizer", "filter" (FastCGI 1.0 §6); other requests get
            FCGI_UNKNOWN_ROLE. An application that is no authorizer and answers 200 would authorize everybody.
        overload: what a request over `limits.requests_per_connection` gets: FCGI_OVERLOADED ("protocol"), or a 503
            page with Retry-After ("page") where the front end does not tell its client.
        spool_directory: where the temporary files of long bodies are made; None for TMPDIR, /tmp or /var/tmp.
        event_loop: in which a native application's coroutines run: "asyncio", "uvloop", or "auto" for uvloop where it
            is installed. No event loop is made before the first coroutine.
        stream_body: call the application when the parameters are complete; it reads its body as it comes, and its
            worker waits with it (docs/streaming.md).
        script_name: where a WSGI application is mounted, such as "/shop" or "": SCRIPT_NAME and PATH_INFO are set
            right, however the front end divides the path; None to leave them (docs/wsgi.md).
        errors: where `wsgi.errors` goes: to the front end as FCGI_STDERR, or to `log`.
        scoreboard: a descriptor from `fastcore.scoreboard.create(workers)`, on which each worker tells what it does,
            for who has made it to read; it is closed in the workers. -1 for none.

    Raises ListenerError where `bind` cannot be listened on, AddressError where it is no address or the list of allowed
    ones is none, SpoolError where `spool_directory` cannot be used. Call it in the main thread: it handles signals.

    Example::

        fastcore.serve(application, "unix:/run/app.sock", workers=2, socket_group="www-data")
    """
    if interface not in ("wsgi", "native"):
        raise ValueError(f"interface is 'wsgi' or 'native', not {interface!r}")
    if workers < 1:
        raise ValueError(f"workers is 1 or more, not {workers}")
    for name, value in (("max_requests", max_requests), ("max_memory", max_memory)):
        if value < 0:
            raise ValueError(f"{name} is 0 or more, not {value}")
    if not 0 <= min_workers <= workers:
        raise ValueError(f"min_workers is from 0 to workers, not {min_workers} of {workers}")
    if not idle_exit > 0:
        raise ValueError(f"idle_exit is more than 0 seconds, not {idle_exit}")
    if heartbeat is not None and not heartbeat[0] > 0:
        raise ValueError(f"heartbeat is more than 0 seconds, not {heartbeat[0]}")
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles or isinstance(roles, str):
        raise ValueError(f"roles are some of {', '.join(ROLES)}, not {', '.join(unknown) or repr(roles)}")
    if overload not in ("protocol", "page"):
        raise ValueError(f"overload is 'protocol' or 'page', not {overload!r}")
    check_event_loop(event_loop)
    if errors not in ("stderr", "log"):
        raise ValueError(f"errors is 'stderr' or 'log', not {errors!r}")
    if interface == "native" and (script_name is not None or errors != "stderr"):
        raise ValueError("script_name and errors are for WSGI applications")
    native = app
    if interface == "wsgi":
        from fastcore.wsgi import WSGIAdapter

        if script_name is not None or errors != "stderr":
            app = _adjusted(app, script_name, errors, log)
        native = WSGIAdapter(app, multiprocess=workers > 1)
    options: dict[str, Any] = {
        "limits": limits,
        "allow_uids": allow_uids,
        "workers": workers,
        "log": log,
        "event_loop": event_loop,
        "stream_body": stream_body,
    }
    options |= {"roles": [ROLES[role] for role in roles], "overload": overload}
    if spool_directory is not None:
        options["spool_directory"] = check_directory(spool_directory)

    worker_loop = implementation.loop.WorkerLoop  # imported before workers are forked: they share its memory
    if 0 < min_workers < workers and scoreboard < 0:
        from fastcore.scoreboard import create

        scoreboard = create(workers)
    if scoreboard >= 0:
        from fastcore.scoreboard import IDLE, check_place, clear

        check_place(scoreboard, workers - 1)
        make_page = implementation.scoreboard.Page

    def work(lifeline: int = -1, number: int = 0) -> int:
        if on_worker is not None and lifeline >= 0:
            on_worker(number)
        application, counters = _counted(native, max_requests, max_memory, log)
        if scoreboard >= 0:
            page = options["scoreboard"] = make_page(scoreboard, number, time.monotonic())
            os.close(scoreboard)  # nothing of the others' pages can be reached any more
            page.enter(IDLE, time.monotonic(), 0)
        loop = worker_loop(listener, application, lifeline=lifeline, **options)
        for counter in counters:
            counter.on_last = loop.drain
        return _run_loop(loop, end_signals, mask, log, on_stop if lifeline < 0 else None)

    def on_end(number: int) -> None:
        if scoreboard >= 0:
            clear(scoreboard, number)
        if on_worker_end is not None:
            on_worker_end(number)

    listener: Any
    owned: OwnedPath | None = None
    pulse: Pulse | None = None
    # Who sees the socket may send a signal: it has to wait until somebody heeds it.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, end_signals)
    try:
        if isinstance(bind, str):
            listener = open_listener(bind, mode=socket_mode, group=socket_group, owner=socket_owner)
            owned = OwnedPath(bind)
        else:
            listener = bind
        if listener.family != AF_UNIX:
            options |= _allowed_hosts(allow_hosts)
        implementation.loop.release_memory()
        if on_ready is not None:
            on_ready()
        if workers == 1 and not max_requests and not max_memory:
            if heartbeat is not None:
                from fastcore.pulse import Pulse

                pulse = Pulse(*heartbeat)
                options["pulse"] = (pulse.fileno(), pulse)
            return work()
        if 0 < min_workers < workers:
            from fastcore.elastic import Elastic, Scaling

            scaling = Scaling(min_workers, workers, idle_exit)
            return Elastic(scaling, listener, scoreboard, work, log, end_signals, on_end, on_stop, heartbeat).run()
        return Prefork(workers, work, log, end_signals, on_end, on_stop, heartbeat).run()
    finally:
        if owned is not None:
            listener.close()
            owned.remove()
        if pulse is not None:
            pulse.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _allowed_hosts(given: Collection[str] | None) -> dict[str, frozenset[str]]:
    """The loop's option for a TCP listener; none where its own default, loopback, is what is wanted."""
    if given is not None:
        return {"allow_hosts": allowed_addresses(given, "allow_hosts")}
    value = os.environ.get(WEB_SERVER_ADDRESSES)
    return {} if value is None else {"allow_hosts": allowed_addresses(value.split(","), WEB_SERVER_ADDRESSES)}


def check_event_loop(name: str) -> None:
    """Raise ValueError for an event loop that is not there."""
    if name not in EVENT_LOOPS:
        raise ValueError(f"event_loop is one of {', '.join(EVENT_LOOPS)}, not {name!r}")
    if name == "uvloop":
        from importlib.util import find_spec

        if find_spec("uvloop") is None:
            raise ValueError("event_loop is 'uvloop', which is not installed: pip install uvloop")


class Forced(KeyboardInterrupt):
    """Raised in an application that runs when the second signal comes."""


def _adjusted(app: Any, script_name: str | None, errors: str, log: Log) -> Any:
    """The WSGI application with its path and its errors as the options say."""
    from fastcore.adjust import AtPath, ErrorsToLog

    if errors == "log":
        app = ErrorsToLog(app, log)
    return app if script_name is None else AtPath(app, script_name)


def _counted(application: Any, count: int, memory: int, log: Log) -> tuple[Any, list[_Weighed | _Counted]]:
    """The application below what looks how often it is called and how much memory is used; and that."""
    counters: list[_Weighed | _Counted] = []
    if memory and (used := _peak_memory()) > memory:
        log(f"max_memory is not heeded: {used / MIB:.1f} MiB were used before the first request")
    elif memory:
        application = _Weighed(application, memory, log)
        counters.append(application)
    if count:
        application = _Counted(application, count)
        counters.append(application)
    return application, counters


def _peak_memory() -> int:
    """Bytes of resident memory that this process has had at most (getrusage(2))."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class _Weighed:
    """A native application that tells when its process has used more than so many bytes of memory."""

    def __init__(self, application: Any, limit: int, log: Log) -> None:
        self._application = application
        self._limit = limit
        self._log = log
        self._over = False
        self.on_last: Callable[[], None]

    def __call__(self, request: Any) -> Any:
        try:
            return self._application(request)
        finally:
            if not self._over and (used := _peak_memory()) > self._limit:
                self._over = True
                self._log(f"{used / MIB:.1f} MiB are more than max_memory: this worker ends")
                self.on_last()


class _Counted:
    """A native application that tells when it is called for the last time: after about `count` calls."""

    def __init__(self, application: Any, count: int) -> None:
        jitter = int.from_bytes(os.urandom(4)) % (count // 10 + 1)  # workers started together do not end together
        self._application = application
        self._left = count - jitter
        self.on_last: Callable[[], None]

    def __call__(self, request: Any) -> Any:
        self._left -= 1
        if self._left == 0:
            self.on_last()
        return self._application(request)


# Where the loop itself may be when a signal comes: interrupting it there would serve nothing, it looks at its flags.
_OF_THE_LOOP = ("fastcore.", "asyncio.", "selectors")


def _runs_application(frame: FrameType | None, outermost: FrameType) -> bool:
    """Whether code that is not the loop's runs in this call stack, up to the frame that runs the loop."""
    while frame is not None and frame is not outermost:
        if not frame.f_globals.get("__name__", "").startswith(_OF_THE_LOOP):
            return True
        frame = frame.f_back
    return False


def _run_loop(
    loop: Any,
    end_signals: Collection[signal.Signals],
    mask: set[int | signal.Signals],
    log: Log,
    on_stop: Callable[[], None] | None,
) -> int:
    """Run a worker loop with the process's signals wired to it; the handlers before are put back.

    `mask` is what the process blocks while it serves: the end signals were blocked until now.
    """
    ended_by = 0
    heard = 0
    here = sys._getframe()

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal ended_by, heard
        heard += 1
        if heard == 1:
            ended_by = number
            loop.drain()
            if on_stop is not None:
                on_stop()
            return
        loop.stop()
        if not _runs_application(frame, here):
            return
        if heard == 2:
            log("a second signal: the application that runs is interrupted")
            raise Forced
        log("a third signal: the application goes on and on; ended where it stands")
        os._exit(128 + number)

    before = {
        number: signal.signal(number, on_signal) for number in end_signals if signal.getsignal(number) != signal.SIG_IGN
    }
    wakeup = signal.set_wakeup_fd(loop.wakeup_fd, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        loop.run()
    except Forced:
        pass
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
    return ended_by
