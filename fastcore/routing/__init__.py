"""URL dispatch over Python regexes: one automaton for the whole table, and the way back from a target to its path."""

from __future__ import annotations

from fastcore.routing.errors import (
    AmbiguousPatternError,
    ParameterError,
    PatternError,
    ReverseError,
    RoutingError,
    ShadowedError,
    UnknownTargetError,
)
from fastcore.routing.patterns import Route
from fastcore.routing.router import Resolved, Router
from fastcore.routing.shorthand import Converter

__all__ = [
    "AmbiguousPatternError",
    "Converter",
    "ParameterError",
    "PatternError",
    "Resolved",
    "ReverseError",
    "Route",
    "Router",
    "RoutingError",
    "ShadowedError",
    "UnknownTargetError",
]
