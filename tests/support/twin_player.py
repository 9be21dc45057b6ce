"""Drives what both twins do, and writes down all that can be seen of it, so that two diaries can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastcore.errors import FastCGIError
from fastcore.events import BodyEnded, BodyReceived, DataEnded, DataReceived, RequestRefused
from fastcore.limits import Limits


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns, or the type and words of what it raises."""
    try:
        return function(*arguments)
    except (FastCGIError, ValueError, TypeError, OverflowError) as error:
        return type(error), str(error) if isinstance(error, FastCGIError) else ""


def describe(request: Any) -> tuple[Any, ...]:
    """All that a request tells."""
    return (
        request.request_id,
        request.role,
        request.keep_connection,
        request.content_length,
        request.waits_for_body,
        request.undeclared,
        request.data_length,
        request.data_last_modified,
        request.params,
        request.environ,
        [request.get(name) for name in ("REQUEST_METHOD", "", "A", "é", "Ω", "HTTP_PROXY")],
    )


class Player:
    """One connection, and its diary."""

    def __init__(self, twin: Any, limits: Limits, options: Mapping[str, Any]) -> None:
        self.limits = limits
        self.connection = twin.connection.Connection(limits, workers=2, **options)
        self.active: dict[int, bool] = {}
        self.diary: list[Any] = []

    def receive(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            request = event.request
            entry = [type(event).__name__, describe(request)]
            if isinstance(event, BodyReceived | DataReceived):
                entry.append(event.data)
                store = request.store_body if isinstance(event, BodyReceived) else request.store_data
                store(event.data, self.limits)
            elif isinstance(event, BodyEnded):
                request.finish_body()
                entry += [request.content_length, request.body.read()]
            elif isinstance(event, DataEnded):
                request.finish_data()
                entry += [request.data_received, request.data.read()]
            elif isinstance(event, RequestRefused):
                entry.append(event.status)
            self.diary.append(entry)
            self.active[request.request_id] = True

    def act(self, action: str) -> None:
        """Answer, end or forget what is active; `refuse` is for bodies that do not come."""
        connection = self.connection
        if action == "refuse":
            connection.refuse_bodies(408)
        for request_id in list(self.active):
            if not action or not connection.is_active(request_id):
                continue
            if action == "answer":
                connection.send_stdout(request_id, b"out")
            elif action == "stderr":
                connection.send_stderr(request_id, b"err")
            elif action == "end":
                connection.end_request(request_id, 7)
            elif action == "break" and connection.active_requests == 1:
                connection.break_off(request_id)
            elif action == "drop":
                self.active.pop(request_id)

    def look(self) -> None:
        connection = self.connection
        self.diary.append(
            (
                connection.phase,
                connection.closing,
                connection.input_pending,
                connection.active_requests,
                connection.pending_bytes,
                connection.data_to_send(),
            )
        )


def play(
    twin: Any, data: bytes, cuts: Sequence[int], actions: Sequence[str], limits: Limits, options: Mapping[str, Any]
) -> list[Any]:
    """The diary of a connection that gets the bytes in pieces of these sizes, with an action after each."""
    player = Player(twin, limits, options)
    try:
        for cut, action in zip([*cuts, len(data)], [*actions, *[""] * (len(cuts) + 1)], strict=False):
            player.receive(data[:cut])
            data = data[cut:]
            player.act(action)
            player.look()
    except FastCGIError as error:
        player.diary.append((type(error).__name__, str(error)))
        player.look()
    return player.diary
