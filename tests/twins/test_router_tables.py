"""The URL tables of large public Django projects, both ways: the patterns are facts in tests/data/urls_*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from fastcore.routing import ReverseError, Router, ShadowedError
from fastcore.routing.analysis import Overlap

TABLES = sorted((Path(__file__).parent.parent / "data").glob("urls_*.json"))


@pytest.fixture(params=TABLES, ids=lambda path: path.stem)
def rows(request: pytest.FixtureRequest) -> list[Any]:
    routes: list[Any] = json.loads(request.param.read_text())["routes"]
    return routes


@pytest.fixture
def overlaps(router: Router) -> list[Overlap]:
    return router.overlaps()


@pytest.fixture
def router(twin: Any, rows: list[Any]) -> Router:
    return Router([(pattern, target) for pattern, target, *_ in rows], matcher=twin.matcher)


def test_each_example_goes_where_re_sends_it(router: Router, rows: list[Any]) -> None:
    for _, _, path, winner, groups in rows:
        expected = None if winner is None else (rows[winner][1], groups)
        assert router.match(path) == expected


def test_url_leads_back_to_each_route(router: Router, rows: list[Any]) -> None:
    """Where the pattern has one path for the parameters; the others say why not."""
    led_back = 0
    for _, _, _, winner, groups in rows:
        if winner is None:
            continue
        target = rows[winner][1]
        try:
            url = router.url(target, **groups)
        except ReverseError:
            continue
        assert router.match(unquote(url)) == (target, groups)
        assert router.url(target, **groups) == url
        led_back += 1
    assert led_back > 0.9 * len(rows)


def test_a_route_is_unreachable_exactly_where_no_path_is_dispatched_to_it(router: Router, rows: list[Any]) -> None:
    reached = {winner for _, _, _, winner, _ in rows}
    for verdict in router.unreachable():
        assert verdict.route.index not in reached
        if verdict.example is not None:
            assert verdict.route.compiled.match(verdict.example)
            target, _ = router.match(verdict.example)
            assert target in {route.target for route in verdict.taken_by}
    assert all("refers back" in verdict.reason for verdict in router.undecided())


def test_each_overlap_is_one(overlaps: list[Overlap]) -> None:
    for overlap in overlaps:
        assert overlap.first.compiled.match(overlap.example)
        assert overlap.second.compiled.match(overlap.example)
        assert overlap.winner.index <= overlap.first.index


def test_shadowed_parameters_are_told(router: Router, rows: list[Any], overlaps: list[Overlap]) -> None:
    for overlap in overlaps[:20]:
        groups = {k: v for k, v in overlap.second.compiled.match(overlap.example).groupdict().items() if v is not None}
        if [row[1] for row in rows].count(overlap.second.target) == 1:
            with pytest.raises((ShadowedError, ReverseError)):
                router.url(overlap.second.target, **groups)
