"""The listening sockets of the back ends: bound once, kept while their processes come and go. None is accepted from.

A socket that a back end has shut down is replaced. One of a back end that rests is closed, so that requests for it get
an error at once; one of a back end that sleeps is watched for the first connection.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from framework.process.runfiles import RunDirectory, restore

__all__ = ["Listeners"]

Watch = Callable[[int, Callable[[], object]], None]
Unwatch = Callable[[int], None]


class Listeners:
    """By the names of the back ends. `watch` and `unwatch` register descriptors with the supervisor's loop."""

    def __init__(self, directory: RunDirectory, watch: Watch, unwatch: Unwatch, say: Callable[[str], object]) -> None:
        self._directory = directory
        self._watch = watch
        self._unwatch = unwatch
        self._say = say
        self._open: dict[str, socket.socket] = {}

    def get(self, name: str, group: int | None) -> socket.socket:
        """The listener of a back end, bound where there is none that works; `group` may connect. Raises RunError."""
        listener = self._open.get(name)
        if listener is None or not restore(listener):
            if listener is not None:
                self._say(f"the socket of {name} was shut down by it: it gets a new one")
                self._unwatch(listener.fileno())
                listener.close()
            listener = self._open[name] = self._directory.bind(name, group)
        return listener

    def on_connection(self, name: str, act: Callable[[], object]) -> None:
        """Call `act` once when a connection waits in the listener of a back end, which must be there."""
        number = self._open[name].fileno()

        def come() -> None:
            self._unwatch(number)
            act()

        self._unwatch(number)
        self._watch(number, come)

    def forget(self, name: str) -> None:
        """Do not look for connections there any more."""
        listener = self._open.get(name)
        if listener is not None:
            self._unwatch(listener.fileno())

    def close(self, name: str) -> None:
        """Requests for a back end that rests get an error at once instead of waiting in its socket."""
        listener = self._open.pop(name, None)
        if listener is not None:
            self._unwatch(listener.fileno())
            listener.close()
            self._directory.site.socket_path(name).unlink(missing_ok=True)

    def close_others(self, names: Iterable[str]) -> None:
        """Close all but those of these back ends."""
        for name in self._open.keys() - set(names):
            self.close(name)

    def close_all(self) -> None:
        """At the end; the sockets are removed with their folder."""
        for listener in self._open.values():
            listener.close()
        self._open.clear()
