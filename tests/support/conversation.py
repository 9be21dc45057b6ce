"""What a connection without a socket makes of bytes, as values that tests compare."""

from __future__ import annotations

from typing import Any

import wire

from fastcore.events import BodyReceived, RequestReceived, RequestRefused


def feed(connection: Any, data: bytes, step: int | None = None) -> list[Any]:
    """All events of `data`, given whole or in steps of so many bytes."""
    step = step or len(data) or 1
    return [
        event for start in range(0, len(data), step) for event in connection.receive_data(data[start : start + step])
    ]


def story(events: list[Any]) -> list[tuple[Any, ...]]:
    """Events as comparable values, pieces of body joined."""
    told: list[tuple[Any, ...]] = []
    for event in events:
        request_id = event.request.request_id
        if isinstance(event, BodyReceived) and told and told[-1][:2] == ("body", request_id):
            told[-1] = ("body", request_id, told[-1][2] + event.data)
        elif isinstance(event, BodyReceived):
            told.append(("body", request_id, event.data))
        elif isinstance(event, RequestReceived):
            told.append(("request", request_id, dict(event.request.params)))
        elif isinstance(event, RequestRefused):
            told.append(("refused", request_id, event.status))
        else:
            told.append((type(event).__name__, request_id))
    return told


def received(events: list[Any]) -> list[Any]:
    """The requests that have begun."""
    return [event.request for event in events if isinstance(event, RequestReceived)]


def values(data: bytes) -> list[tuple[bytes, bytes]]:
    """The pairs of the one FCGI_GET_VALUES_RESULT in `data`."""
    (record,) = [record for record in wire.records(data) if record.type == wire.GET_VALUES_RESULT]
    assert record.id == 0
    found, content = [], record.content
    while content:
        name_length, value_length = content[0], content[1]
        end = 2 + name_length + value_length
        found.append((content[2 : 2 + name_length], content[2 + name_length : end]))
        content = content[end:]
    return found
