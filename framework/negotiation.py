"""Which of several media types a client wants, by its Accept header (RFC 9110 section 12.5.1)."""

from __future__ import annotations

from collections.abc import Sequence

MAX_CACHED = 256
"""Accept headers whose answer is remembered; then the memory is emptied."""
MAX_ACCEPT_LENGTH = 4096
"""Characters of an Accept header that are looked at; a longer one counts as absent."""

_chosen: dict[tuple[str, tuple[str, ...]], str] = {}


def parse_accept(accept: str) -> dict[str, float]:
    """Quality by media range, lower case: ``parse_accept("text/html;q=0.5, */*") == {"text/html": 0.5, "*/*": 1.0}``.

    What is not understood is left out, never an error.
    """
    ranges: dict[str, float] = {}
    if len(accept) > MAX_ACCEPT_LENGTH:
        return ranges
    for part in accept.split(","):
        name, _, parameters = part.partition(";")
        quality = 1.0
        for parameter in parameters.split(";"):
            key, _, value = parameter.partition("=")
            if key.strip().lower() == "q":
                quality = _quality(value.strip())
        if name := name.strip().lower():
            ranges[name] = quality
    return ranges


def _quality(text: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0


def choose_media_type(accept: str | None, offers: tuple[str, ...]) -> str:
    """The offered type to send, `offers` being in the server's order of preference.

    A type that the client names outright goes before one that it takes through a wildcard; where nothing it names is
    offered, the last offer is the one for everybody.

    Example: ``choose_media_type("*/*", ("application/xhtml+xml", "text/html")) == "text/html"``.
    """
    if not accept:
        return offers[-1]
    key = (accept, offers)
    chosen = _chosen.get(key)
    if chosen is None:
        chosen = _choose(parse_accept(accept), offers)
        if len(_chosen) >= MAX_CACHED:
            _chosen.clear()
        if len(accept) <= MAX_ACCEPT_LENGTH:
            _chosen[key] = chosen
    return chosen


def _choose(ranges: dict[str, float], offers: Sequence[str]) -> str:
    best, best_quality = offers[-1], 0.0
    for offer in offers:
        quality = ranges.get(offer, 0.0)
        if quality > best_quality:
            best, best_quality = offer, quality
    return best


def wants_only_json(accept: str | None) -> bool:
    """Whether the client names JSON and no kind of page: ``wants_only_json("application/json, */*") is True``."""
    if not accept or "json" not in accept:
        return False
    ranges = parse_accept(accept)
    if ranges.get("text/html", 0.0) or ranges.get("application/xhtml+xml", 0.0):
        return False
    return bool(ranges.get("application/json", 0.0) or ranges.get("application/problem+json", 0.0))
