"""One application on one listener, served by N processes: what `serve()` and `python -m fastcore` do."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Collection
from typing import Any, Literal

from fastcore import implementation
from fastcore.limits import DEFAULT_LIMITS, Limits
from fastcore.listeners import OwnedPath, open_listener
from fastcore.log import Log, stderr_log

Interface = Literal["wsgi", "native"]

_DRAIN_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


def serve(
    app: Any,
    bind: str | socket.socket,
    *,
    interface: Interface = "wsgi",
    workers: int = 1,
    limits: Limits = DEFAULT_LIMITS,
    socket_mode: int = 0o660,
    socket_group: str | int | None = None,
    allow_uids: Collection[int] | None = None,
    allow_hosts: Collection[str] | None = None,
    on_ready: Callable[[], None] | None = None,
    log: Log = stderr_log,
) -> None:
    """Serve an application over FastCGI until SIGTERM, SIGINT or SIGUSR1; a second signal forces.

    Args:
        app: a WSGI application (PEP 3333), or a native one: `app(request)`.
        bind: `unix:/path`, `host:port`, `fd:0`, or a listening socket.
        interface: which of the two `app` is.
        workers: processes on the listener. With 1, this process serves by itself.
        limits: what a client may ask of each worker.
        socket_mode, socket_group: permission bits and group of a unix socket.
        allow_uids: user ids that may connect to a unix socket; None for all that its mode lets in.
        allow_hosts: numeric addresses that may connect over TCP; None for loopback only.
        on_ready: called once when the listener is open and connections are taken.
        log: takes one text without a newline.

    Raises ListenerError where `bind` cannot be listened on. Call it in the main thread: it handles signals.

    Example::

        fastcore.serve(application, "unix:/run/app.sock", workers=2, socket_group="www-data")
    """
    if interface not in ("wsgi", "native"):
        raise ValueError(f"interface is 'wsgi' or 'native', not {interface!r}")
    if workers < 1:
        raise ValueError(f"workers is 1 or more, not {workers}")
    native = app
    if interface == "wsgi":
        from fastcore.wsgi import WSGIAdapter

        native = WSGIAdapter(app, multiprocess=workers > 1)
    owned: OwnedPath | None = None
    if isinstance(bind, str):
        listener = open_listener(bind, mode=socket_mode, group=socket_group)
        owned = OwnedPath(bind)
    else:
        listener = bind

    options: dict[str, Any] = {"limits": limits, "allow_uids": allow_uids, "workers": workers, "log": log}
    if allow_hosts is not None:
        options["allow_hosts"] = allow_hosts

    def work(lifeline: int = -1) -> None:
        _run_loop(implementation.loop.WorkerLoop(listener, native, lifeline=lifeline, **options))

    try:
        if on_ready is not None:
            on_ready()
        if workers == 1:
            work()
        else:
            from fastcore.workers import Prefork

            Prefork(workers, work, log).run()
    finally:
        if owned is not None:
            listener.close()
            owned.remove()


def _run_loop(loop: Any) -> None:
    """Run a worker loop with the process's signals wired to it; the handlers before are put back."""
    signals_seen = 0

    def on_signal(*_: object) -> None:
        nonlocal signals_seen
        signals_seen += 1
        if signals_seen == 1:
            loop.drain()
        else:
            loop.stop()

    before = {
        number: signal.signal(number, on_signal)
        for number in _DRAIN_SIGNALS
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    wakeup = signal.set_wakeup_fd(loop.wakeup_fd, warn_on_full_buffer=False)
    try:
        loop.run()
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
