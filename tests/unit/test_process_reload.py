"""What a reload of named back ends adopts of a changed site file: what it says of those, and no more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from framework.process.reload import ReloadError, adopt
from framework.site.schema import Backend, Listen, Site


def backend(name: str, **changes: object) -> Backend:
    return replace(Backend(name, f"{name}:app", f"/{name}", name, name), **changes)  # type: ignore[arg-type]


def site(*backends: Backend, **changes: object) -> Site:
    plain = Site("site", Path("/site.toml"), Listen("127.0.0.1", 8000))
    return replace(plain, backends={each.name: each for each in backends}, **changes)  # type: ignore[arg-type]


def test_only_the_named_back_end_is_adopted_and_the_rest_is_told() -> None:
    old = site(backend("one"), backend("two"), backend("three"))
    new = site(backend("one", workers=2), backend("two", nice=5), backend("four"), max_request_size=5)
    adopted, waiting = adopt(old, new, ["one"])
    assert adopted == site(backend("one", workers=2), backend("two"), backend("three"))
    assert waiting == ("max_request_size", "back end two", "back end three", "back end four")


def test_nothing_waits_where_only_the_named_back_ends_have_changed() -> None:
    old = site(backend("one"), backend("two"))
    new = site(backend("one", workers=2), backend("two", nice=5))
    assert adopt(old, new, ["two", "one"]) == (new, ())


def test_a_new_back_end_takes_a_reload_of_the_whole_site() -> None:
    with pytest.raises(ReloadError, match="back end two is new: reload the whole site"):
        adopt(site(backend("one")), site(backend("one"), backend("two")), ["two"])
