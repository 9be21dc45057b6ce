"""Limits: their checks, and that the documentation names each one with its default."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from fastcore.limits import DEFAULT_LIMITS, MAY_BE_OFF, Limits

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "limits.md"


@pytest.mark.parametrize("field", fields(Limits), ids=lambda field: field.name)
@pytest.mark.parametrize("value", [0, -1, 1.5, "1", None, True])
def test_anything_but_a_positive_whole_number_is_refused(field, value):
    if field.name in MAY_BE_OFF and type(value) is int and value == 0:
        assert getattr(Limits(**{field.name: 0}), field.name) == 0
        return
    with pytest.raises(ValueError, match=f"Limits.{field.name} must be (0 or )?a positive int"):
        Limits(**{field.name: value})


def test_the_documentation_has_each_limit_with_its_default():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE)
    assert {name: int(default) for name, default in rows} == {
        field.name: getattr(DEFAULT_LIMITS, field.name) for field in fields(Limits)
    }
