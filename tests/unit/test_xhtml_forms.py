"""Forms: every field has a label; values, errors and choices are where they belong."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.xhtml import Document, Element, Form, Fragment
from framework.xhtml.parse import parse_document


class Level(Enum):
    LOW = "low"
    VERY_HIGH = "high"


class Multi(dict[str, list[str]]):
    """A form as a request holds it: names can come more than once."""

    def getlist(self, name: str) -> list[str]:
        return self.get(name, [])

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)[0]


@pytest.fixture
def page() -> Document:
    return Document("t")


INPUTS = [
    ("text", "text", "typed"), ("email", "email", "a@example.org"), ("url", "url", "https://example.org/a?b=c#d"),
    ("tel", "tel", "typed"), ("search", "search", "typed"), ("number", "number", "-2.5e3"), ("range", "range", "5"),
    ("date", "date", "2030-01-31"), ("time", "time", "06:30"), ("datetime", "datetime-local", "2030-01-31T06:30"),
    ("month", "month", "2030-01"), ("week", "week", "2030-W05"), ("color", "color", "#1d5fa8"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "type", "typed"), INPUTS)
def test_input_has_label_value_help_and_error(page: Document, method: str, type: str, typed: str) -> None:
    form = page.body.add_form("/save", values={"a": typed}, errors={"a": ["one", "two"]})
    required = type not in ("range", "color")
    element = getattr(form, f"add_{method}")("a", "Label", "given", help="Help", required=required)
    assert element.get("type") == type
    assert element.get("value") == typed
    assert element.get("aria-invalid") is True
    label = page.find(f"label[for={element.id}]")
    assert label is not None
    assert label.text == ("Label required" if required else "Label")
    notes = [page.by_id(id).text for id in element.get("aria-describedby")]  # type: ignore[union-attr]
    assert notes == ["Help", "one two"]
    assert page.check() == []


def test_value_of_the_caller_stands_until_something_was_typed(page: Document) -> None:
    form = page.body.add_form(values={"a": ""})
    assert form.add_text("a", "A", "given").get("value") == ""
    assert form.add_date("b", "B", date(2030, 1, 2)).get("value") == "2030-01-02"
    assert form.add_text("c", "C").get("value") is None


NOW = datetime(2030, 1, 31, 6, 30, 15, 123456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("method", "value", "written"),
    [
        ("date", NOW, "2030-01-31"),
        ("time", NOW, "06:30:15.123"),
        ("time", time(6, 30, tzinfo=UTC), "06:30"),
        ("datetime", NOW, "2030-01-31T06:30:15.123"),
        ("datetime", NOW.replace(microsecond=0), "2030-01-31T06:30:15"),
        ("datetime", date(2030, 1, 31), "2030-01-31T00:00"),
        ("month", NOW, "2030-01"),
        ("week", date(2030, 12, 31), "2031-W01"),
        ("number", Decimal("1.50"), "1.50"),
        ("number", 1e30, "1e+30"),
        ("range", True, "on"),
    ],
)
def test_value_is_written_as_the_input_holds_it(page: Document, method: str, value: Any, written: str) -> None:
    bounds = {"min": value} if isinstance(value, date | time) else {}
    element = getattr(page.body.add_form(), f"add_{method}")("a", "A", value, **bounds)
    assert (element.get("value"), element.get("min", written)) == (written, written)
    assert page.check() == []


@pytest.mark.parametrize(
    ("method", "typed", "mode"),
    [
        ("number", "1,5", "decimal"),
        ("range", "1e999999x", "decimal"),
        ("date", "31.1.2030", None),
        ("date", "2030-02-30", None),
        ("time", "25:00", None),
        ("datetime", "2030-01-31 now", None),
        ("month", "2030-13", None),
        ("week", "2030-W53", None),
        ("color", "red", None),
        ("email", "somebody", "email"),
        ("url", "example.org", "url"),
    ],
)
def test_what_the_input_cannot_hold_can_still_be_put_right(
    page: Document, method: str, typed: str, mode: str | None
) -> None:
    form = page.body.add_form(values={"a": typed}, errors={"a": "wrong"})
    element = getattr(form, f"add_{method}")(
        "a", "A", help="Help", **({"min": 1, "max": 2} if mode == "decimal" else {})
    )
    assert (element.get("type"), element.get("value"), element.get("inputmode")) == ("text", typed, mode)
    assert element.get("aria-invalid") is True
    assert page.check() == []


@given(st.text(max_size=20) | st.from_regex(r"(https?://[a-z./?#%0-9-]*|[0-9-]+[TW: ]?[0-9.:]*)", fullmatch=True))
def test_whatever_was_typed_the_page_is_valid(typed: str) -> None:
    page = Document("t")
    form = page.body.add_form(values=dict.fromkeys("abcdefghijklmn", typed), errors={"a": typed})
    for name, (method, _, _) in zip("abcdefghijklm", INPUTS, strict=True):
        getattr(form, f"add_{method}")(name, typed or "x")
    form.add_email("n", "N", multiple=True)
    form.add_textarea("o", "O", typed.lstrip())
    assert page.check() == []


def test_secret_and_file_are_never_written_back(page: Document) -> None:
    form = page.body.add_form(values={"p": "secret", "f": "x", "h": "forged"})
    form.add_password("p", "Password")
    form.add_file("f", "File")
    form.add_hidden("h", "ours")
    text = str(page)
    assert "secret" not in text
    assert "forged" not in text
    assert '<input type="hidden" name="h" value="ours"/>' in text
    assert form.get("enctype") == "multipart/form-data"


@pytest.mark.parametrize(
    ("options", "value", "expected"),
    [
        (Level, Level.VERY_HIGH, [("low", "Low", False), ("high", "Very high", True)]),
        (["a", "b"], "b", [("a", "a", False), ("b", "b", True)]),
        ([(1, "one"), (2, "two")], 1, [("1", "one", True), ("2", "two", False)]),
        ({"Group": ["x"]}, None, [("x", "x", False)]),
        ({"de": "German", "en": "English"}, "en", [("de", "German", False), ("en", "English", True)]),
    ],
)
def test_select(page: Document, options: Any, value: Any, expected: Any) -> None:
    select = page.body.add_form().add_select("s", "S", options, value)
    found = [(o.get("value"), o.text, bool(o.get("selected"))) for o in select.find_all("option")]
    assert found == expected
    assert page.check() == []


def test_required_choice_begins_with_none(page: Document) -> None:
    form = page.body.add_form()
    texts = [
        [option.text for option in form.add_select(name, "S", ["a"], required=True, **options).elements]
        for name, options in (("a", {}), ("b", {"prompt": "None"}), ("c", {"multiple": True}), ("d", {"size": 3}))
    ]
    assert texts == [["Choose one", "a"], ["None", "a"], ["a"], ["a"]]
    assert page.check() == []


def test_all_that_is_required_says_so(page: Document) -> None:
    form = page.body.add_form(errors={"r": "is missing", "c": "is missing"})
    form.add_radio_group("r", "Level", Level, required=True)
    form.add_checkbox("c", "Agreed", required=True)
    assert [mark.parent.text for mark in form.find_all(".required")] == ["Level required", " Agreed required"]  # type: ignore[union-attr]
    assert "Level: is missing" in form.add_error_summary().text  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="cannot ask for one box among several"):
        form.add_checkbox_group("g", "G", ["a"], required=True)
    assert form.add_checkbox_group("g", "G", ["a"], None).find_all("input[checked]") == []
    assert page.check() == []


@dataclass
class Disk:
    name: str
    read_only: bool
    size: int = 3


def test_values_of_an_object(page: Document) -> None:
    form = page.body.add_form(values=Disk("sda", True))
    assert form.add_text("name", "Name").get("value") == "sda"
    assert form.add_number("size", "Size", 7).get("value") == "3"
    assert form.add_checkbox("read_only", "Read only").get("checked") is True
    assert form.add_text("__class__", "Odd").get("value") is None
    assert form.add_text("else", "Else", "given").get("value") == "given"
    with pytest.raises(TypeError, match="mapping from names"):
        page.body.add_form(errors=["wrong"])  # type: ignore[arg-type]


class Named(NamedTuple):
    name: str
    size: int = 3


def test_values_of_a_row(page: Document) -> None:
    with closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        row = database.execute("SELECT 'sda' AS name, 3 AS size").fetchone()
    for values in (Named("sda"), row):  # which have methods: "index", "keys"
        form = page.body.add_form(values=values)
        assert form.add_text("name", "Name").get("value") == "sda"
        assert form.add_select("size", "Size", [1, 3]).find("[selected]").text == "3"  # type: ignore[union-attr]
        assert form.add_text("else", "Else", "given").get("value") == "given"
        assert form.add_text("index", "Index").get("value") is None


def test_form_in_a_part_of_a_page() -> None:
    part = Fragment()
    ids = [part.add_form().add_text("a", "A").id for _ in range(2)]
    assert ids == ["field-a", "field2-a"]
    assert str(Element("div").add_form("/x").add_text("a", "A")) == '<input type="text" id="field-a" name="a"/>'


def test_forms_in_a_part_of_a_page_leave_its_rows_alone() -> None:
    called: list[int] = []
    part = Fragment()
    part.add_table([{"a": 1}], formats={"a": lambda value: called.append(value) or value})
    ids = [part.add("div").add_form().add_text("a", "A").id for _ in range(3)]
    assert (called, ids) == ([], ["field-a", "field2-a", "field3-a"])
    assert "<td" in str(part)


def test_forms_in_a_part_of_a_page_do_not_look_at_all_of_it_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Fragment(*(Element("p") for _ in range(50)))
    part.add_form()
    monkeypatch.setattr(Element, "walk", None)
    monkeypatch.setattr("framework.xhtml.forms._count_forms", None)
    assert part.add_form().add_text("a", "A").id == "field2-a"


def test_form_in_a_parsed_page(page: Document) -> None:
    page.body.add_form().add_text("a", "A")
    again = parse_document(page.encode())
    assert again.body.add_form().add_text("a", "A").id == "field2-a"
    assert again.check() == []


def test_select_several(page: Document) -> None:
    form = page.body.add_form(values=Multi(s=["a", "c"]))
    select = form.add_select("s", "S", ["a", "b", "c"], ["b"], multiple=True, prompt="none")
    assert [option.text for option in select.find_all("option[selected]")] == ["a", "c"]


def test_radio_group(page: Document) -> None:
    form = page.body.add_form(values={"r": "high"}, errors={"r": "wrong"})
    group = form.add_radio_group("r", "Level", Level, Level.LOW, help="Choose")
    assert group.tag == "fieldset"
    assert group.find("legend").text == "Level"  # type: ignore[union-attr]
    inputs = group.find_all("input")
    assert [(i.get("value"), bool(i.get("checked"))) for i in inputs] == [("low", False), ("high", True)]
    assert len({i.id for i in inputs}) == 2
    assert page.check() == []


@pytest.mark.parametrize(
    ("values", "checked", "expected"),
    [({}, True, True), ({}, False, False), ({"c": "on"}, False, True), (Multi(other=["x"]), True, False)],
)
def test_checkbox(page: Document, values: Any, checked: bool, expected: bool) -> None:
    element = page.body.add_form(values=values).add_checkbox("c", "C", checked)
    assert bool(element.get("checked")) is expected
    assert page.check() == []


def test_checkbox_group(page: Document) -> None:
    group = page.body.add_form().add_checkbox_group("c", "C", ["a", "b", "c"], ["a", "c"])
    assert [bool(i.get("checked")) for i in group.find_all("input")] == [True, False, True]


@pytest.mark.invalid_pages(
    "HTML knows no way but &#13; to say that a <textarea> begins with a line break, and calls it wrong"
)
def test_textarea_keeps_its_text(page: Document) -> None:
    form = page.body.add_form(values={"t": "\n<line>"})
    form.add_textarea("t", "T", "given", rows=3)
    assert '<textarea id="field-t" name="t" rows="3">&#13;&lt;line&gt;</textarea>' in str(page)


def test_fieldset_and_group_take_fields(page: Document) -> None:
    form = page.body.add_form(values={"a": "typed"})
    part = form.add_fieldset("Part").add_group(class_="row")
    assert part.add_text("a", "A").get("value") == "typed"
    assert page.check() == []


def test_buttons_stand_together(page: Document) -> None:
    form = page.body.add_form()
    form.add_text("a", "A")
    form.add_submit("Save", name="how", value="save", class_="x")
    form.add_button("Try")
    form.add_reset()
    boxes = form.find_all("p.buttons")
    assert len(boxes) == 1
    assert [button.get("type") for button in boxes[0].elements] == ["submit", "button", "reset"]


def test_error_summary_leads_to_the_fields(page: Document) -> None:
    form = page.body.add_form(errors={"a": "is empty", "r": "is wrong", "gone": "lost"})
    form.add_text("a", "Name", required=True)
    form.add_radio_group("r", "Level", Level)
    box = form.add_error_summary()
    assert box is form.elements[0]
    assert [(a.get("href"), a.text) for a in box.find_all("a")] == [  # type: ignore[union-attr]
        ("#field-a", "Name: is empty"),
        ("#field-r-low", "Level: is wrong"),
    ]
    assert "lost" in box.text  # type: ignore[union-attr]
    assert page.check() == []
    assert page.body.add_form().add_error_summary() is None


def test_ids_of_two_forms_with_the_same_names_differ(page: Document) -> None:
    one, two = page.body.add_form(), page.body.add_form()
    ids = {form.add_text("a", "A").id for form in (one, two)} | {one.add_text("a", "A").id}
    assert len(ids) == 3
    assert page.body.add_form(id="mine").add_text("a", "A").id == "mine-a"
    assert page.body.add_form().add_text("a", "A", id="own").id == "own"
    assert page.check() == []


def test_action_and_method(page: Document) -> None:
    assert str(page.body.add_form(method="get")) == '<form method="get"></form>'
    with pytest.raises(ValueError, match="method"):
        page.body.add_form(method="put")


def test_form_can_be_cloned_and_goes_on(page: Document) -> None:
    form = page.body.add_form(values={"b": "typed"})
    form.add_text("a", "A")
    copy = form.clone()
    assert isinstance(copy, Form)
    assert isinstance(copy, Element)
    assert copy.add_text("b", "B").get("value") == "typed"
