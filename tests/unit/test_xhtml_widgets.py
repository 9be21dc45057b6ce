"""Widgets, tables and charts: what they make is what was asked for, and can be used by everybody."""

from __future__ import annotations

import math
import xml.etree.ElementTree as etree
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.xhtml import Column, Document, Element, Fragment
from framework.xhtml.charts import MAX_POINTS, bar_chart, line_chart, nice, short, sparkline


def written(make: Any) -> str:
    top = Fragment()
    make(top)
    return str(top)


def test_headings_have_a_level() -> None:
    assert written(lambda top: top.add_heading(3, "x", id="y")) == '<h3 id="y">x</h3>'
    for level in (0, 7, -1, "2"):
        with pytest.raises(ValueError, match="level"):
            Fragment().add_heading(level, "x")


def test_lists_within_lists() -> None:
    assert written(lambda top: top.add_list(["a", ["b", ["c"]], "d"], ordered=False)) == (
        "<ul><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ul>"
    )
    assert written(lambda top: top.add_list({"a": ["b"], "c": [], "d": 1}, ordered=True)) == (
        "<ol><li>a<ol><li>b</li></ol></li><li>c</li><li>d: 1</li></ol>"
    )
    assert written(lambda top: top.add_list([["a"]])) == "<ul><li><ul><li>a</li></ul></li></ul>"
    assert written(lambda top: top.add_list([])) == "<ul></ul>"


def test_definition_list() -> None:
    text = written(lambda top: top.add_definition_list({"a": 1, "b": [2, 3]}))
    assert text == "<dl><dt>a</dt><dd>1</dd><dt>b</dt><dd>2</dd><dd>3</dd></dl>"


def test_section_takes_heading_and_content() -> None:
    text = written(lambda top: top.add_section("H", Element("p", "x"), level=3, tag="article", class_="c"))
    assert text == '<article class="c"><h3>H</h3><p>x</p></article>'


def test_navigation_marks_where_we_are() -> None:
    text = written(lambda top: top.add_navigation([("A", "/a"), ("B", "/b")], label="Main", current="/b"))
    assert text == (
        '<nav aria-label="Main"><ul><li><a href="/a">A</a></li>'
        '<li><a href="/b" aria-current="page">B</a></li></ul></nav>'
    )


def test_link_that_opens_elsewhere_has_no_opener() -> None:
    assert 'rel="noopener"' in written(lambda top: top.add_anchor("x", "/x", target="_blank"))


def test_figure_details_status_gauges() -> None:
    assert written(lambda top: top.add_figure("x", "y")) == "<figure>x<figcaption>y</figcaption></figure>"
    assert written(lambda top: top.add_details("s", "c", open=True)) == (
        '<details open=""><summary>s</summary>c</details>'
    )
    assert 'role="alert"' in written(lambda top: top.add_status("x", kind="error"))
    assert 'role="status"' in written(lambda top: top.add_status("x"))
    progress = Fragment().add_progress("p", 0.25, id="p")
    assert str(progress) == '<progress value="0.25" max="1" id="p">25 %</progress>'
    assert str(Fragment().add_progress("p")) == '<progress max="1"></progress>'
    assert str(Fragment().add_progress("p", 50)) == '<progress value="1" max="1">5000 %</progress>'
    assert str(Fragment().add_progress("p", -1)) == '<progress value="0" max="1">-100 %</progress>'
    full = Fragment().add_meter("m", 9, maximum=8, low=-1, high=10)
    assert str(full) == '<meter value="8" min="0" max="8" low="0" high="8">112 %</meter>'
    with pytest.raises(ValueError, match="kind info, success"):
        Fragment().add_status("x", kind="sucess")
    meter = Fragment().add_meter("m", 3, minimum=1, maximum=5, text="3 GB", low=2)
    assert str(meter) == '<meter value="3" min="1" max="5" low="2">3 GB</meter>'


# -- tables -------------------------------------------------------------------------------------------------


@dataclass
class Disk:
    name: str
    used: float


class Named(NamedTuple):
    name: str
    used: float


class DatabaseRow:
    """Looks as a row of SQLAlchemy does."""

    _mapping = {"name": "sda", "used": 0.5}


class Plain:
    name, used = "sda", 0.5


Old = namedtuple("Old", "name used")

EXPECTED = '<tbody><tr><td>sda</td><td class="number">0.5</td></tr></tbody>'


@pytest.mark.parametrize(
    "row",
    [("sda", 0.5), ["sda", 0.5], {"name": "sda", "used": 0.5}, Disk("sda", 0.5), Named("sda", 0.5), Old("sda", 0.5)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_table_from_rows_of_any_kind(row: Any, stream: bool) -> None:
    assert EXPECTED in written(lambda top: top.add_table([row, row], stream=stream)).replace(
        '</tr><tr><td>sda</td><td class="number">0.5</td></tr>', "</tr>"
    )


@pytest.mark.parametrize("row", [DatabaseRow(), Plain()])
def test_table_from_objects(row: Any) -> None:
    assert EXPECTED in written(lambda top: top.add_table([row], columns=["name", "used"]))


def test_table_says_what_columns_are() -> None:
    text = written(lambda top: top.add_table([Disk("sda", 0.5)], caption="Disks", row_header="name"))
    assert text == (
        '<table><caption>Disks</caption><thead><tr><th scope="col">Name</th><th scope="col" class="number">Used</th>'
        '</tr></thead><tbody><tr><th scope="row">sda</th><td class="number">0.5</td></tr></tbody></table>'
    )


def test_table_formats_renderers_classes_footers() -> None:
    rows = [Disk("sda", 0.5), Disk("sdb", 0.25)]
    columns = [
        Column("name", "Disk", render=str.upper),
        Column(lambda disk: disk.used * 2, "Twice", class_="wide"),
        "used",
    ]
    text = written(
        lambda top: top.add_table(
            rows,
            columns=columns,
            formats={"used": ".0%"},
            row_class=lambda disk: "hot" if disk.used > 0.3 else None,
            row_id=lambda disk: disk.name,
            footers=["Sum", None, 0.75],
        )
    )
    assert (
        '<tr class="hot" id="sda"><td>SDA</td><td class="wide number">1.0</td><td class="number">50%</td></tr>' in text
    )
    assert '<tr id="sdb">' in text
    assert '<tfoot><tr><th scope="row">Sum</th><td class="wide"></td><td class="number">75%</td></tr></tfoot>' in text


def test_table_values_of_all_kinds() -> None:
    cells = [None, True, False, 3, Decimal("1.0"), Level.VERY_HIGH, "<", Element("b", "x"), ["a", "b"]]
    text = written(lambda top: top.add_table([(cell,) for cell in cells]))
    assert "".join(f"<tr>{cell}</tr>" for cell in (
        "<td></td>", "<td>yes</td>", "<td>no</td>", '<td class="number">3</td>', '<td class="number">1.0</td>',
        "<td>Very high</td>", "<td>&lt;</td>", "<td><b>x</b></td>", "<td>ab</td>",
    )) in text  # fmt: skip


def test_table_without_rows() -> None:
    text = written(lambda top: top.add_table([], headings=["a", "b"], empty="nothing"))
    assert '<td colspan="2" class="empty">nothing</td>' in text
    assert written(lambda top: top.add_table([])) == "<table><tbody></tbody></table>"


class Level(Enum):
    VERY_HIGH = 3


def test_table_mistakes_are_told() -> None:
    for options in ({"row_header": "nmae"}, {"formats": {"nmae": ","}}, {"row_header": 1}):
        with pytest.raises(ValueError, match=r"no column .* there are 'name'"):
            Fragment().add_table([{"name": 1}], **options)
    assert Fragment().add_table([], row_header="name", formats={"name": ","})
    with pytest.raises(ValueError, match=r"2 columns.*3 headings"):
        Fragment().add_table([(1, 2)], headings=["a", "b", "c"])
    with pytest.raises(ValueError, match="lacks one of the columns"):
        str(Fragment().add_table([(1, 2), (1,)]))
    with pytest.raises(TypeError, match="columns"):
        Fragment().add_table([object()])
    table = Fragment().add_table(iter([(1,)]), stream=True)
    assert "<td" in str(table)
    with pytest.raises(ValueError, match="used up"):
        str(table)


cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals(allow_nan=False)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.tuples(*[cells] * n), max_size=4)), st.booleans())
def test_rows_are_written_alike_as_values_and_as_elements(rows: list[tuple[Any, ...]], special: bool) -> None:
    options: dict[str, Any] = {"row_header": 0, "row_class": lambda row: row[0] and "x"} if special else {}
    table = Fragment().add_table(rows, **options)
    direct = str(table)
    streamed = str(Fragment().add_table(lambda: rows, stream=True, **options))
    assert b"".join(table) == table.encode() == direct.encode()
    assert len(table.find_all("tr")) == len(rows)
    assert str(table) == direct == streamed


def test_rows_become_elements_when_somebody_looks() -> None:
    page = Document("t")
    page.body.add_table([("a", 1), ("b", 2)])
    row = page.find("tbody > tr")
    assert row is not None
    assert row.parent is page.find("tbody")
    row.add_class("hot")
    row.parent.append(Element("tr", Element("td", "c"), Element("td")))  # type: ignore[union-attr]
    assert '<tr class="hot"><td>a</td>' in str(page)
    assert len(page.find_all("td")) == 6
    assert str(page.clone()) == str(page)


def test_large_table_is_streamed_in_constant_memory() -> None:
    def rows() -> Iterator[tuple[int, str]]:
        return ((number, "<x>") for number in range(20_000))

    page = Document("t")
    page.body.add_table(rows, headings=("n", "x"), stream=True)
    chunks = list(map(len, page))
    assert max(chunks) < 40_000
    assert sum(chunks) > 1_000_000
    assert len(page.find_all("tbody tr")) == 0


# -- charts -------------------------------------------------------------------------------------------------

figures = st.none() | st.floats() | st.integers(-(10**9), 10**9)


@given(st.lists(figures, max_size=20), st.none() | st.integers(-5, 5), st.none() | st.integers(-5, 5))
def test_charts_stay_within_their_frame(values: list[Any], low: int | None, high: int | None) -> None:
    for chart in (
        sparkline(values, label="s", minimum=low, maximum=high),
        line_chart({"a": values, "b": []}, label="l", minimum=low, maximum=high),
    ):
        tree = etree.fromstring(str(chart))
        width, height = map(float, tree.get("viewBox", "").split()[2:])
        for path in tree.iter("{http://www.w3.org/2000/svg}path"):
            for point in path.get("d", "").replace("Z", "").replace("h0", "").replace("M", "L").split("L")[1:]:
                x, y = map(float, point.split())
                assert 0 <= x <= width
                assert 0 <= y <= height


def test_chart_says_in_words_what_it_shows() -> None:
    chart = line_chart({"in": [1, 5, None, 2.345], "out": [None]}, label="Network", unit=" MB/s", id="net")
    assert chart.get("role") == "img"
    title = chart.elements[0]
    assert title.tag == "title"
    assert title.text == "Network: in now 2.35 MB/s, lowest 1 MB/s, highest 5 MB/s; out no values"
    assert chart.id == "net"
    assert [element.text for element in chart.find_all(".chart-legend text")] == ["in", "out"]


def test_gap_in_a_line() -> None:
    path = sparkline([0, 1, None, 2], label="x", maximum=2, width=102, height=24).find(".chart-path")
    assert path is not None
    assert path.get("d") == "M1 22L34.33 12M101 2h0"


def test_bars() -> None:
    chart = bar_chart({"a": 1, "b": 3, "c": 0}, label="Bars", unit=" %", maximum=2, text=lambda value: f"<{value:g}>")
    widths = [float(rect.get("width")) for rect in chart.find_all("rect.chart-value")]
    track = float(chart.find("rect.chart-track").get("width"))  # type: ignore[union-attr]
    assert widths == [track / 2, track, 0]
    assert chart.elements[0].text == "Bars: a <1>, b <3>, c <0>"
    assert bar_chart({}, label="x").elements[0].text == "x: no values"
    for bad in ({"a": -1}, {"a": math.nan}, {"a": math.inf}):
        with pytest.raises(ValueError, match="from 0 up"):
            bar_chart(bad, label="x")


def test_too_many_values_are_refused() -> None:
    assert sparkline([1] * MAX_POINTS, label="x")
    with pytest.raises(ValueError, match="at most"):
        sparkline([1] * (MAX_POINTS + 1), label="x")


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_nice_number_is_just_above(span: float) -> None:
    assert span * (1 - 1e-6) <= nice(span) <= span * 2.5


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1, "1"),
        (1.2345, "1.23"),
        (99.96, "100"),
        (123.4, "123"),
        (1e7, "1e+07"),
        (-0.0, "0"),
        (0.00012, "0.00012"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_a_cell_is_made_once_each_time_it_is_written() -> None:
    made: list[int] = []

    def render(value: int) -> Element:
        made.append(value)
        return Element("b", value)

    page = Document("Table")
    page.body.add_table([{"a": 1}, {"a": 2}], formats={"a": render})
    assert '<td class="number"><b>2</b></td>' in str(page)
    assert made == [1, 2]


def test_a_handler_needs_a_page() -> None:
    page = Document("Page")
    with pytest.raises(ValueError, match="let the <li> stand in it first"):
        Element("li").add_anchor("One", "home", params={})
    with pytest.raises(ValueError, match="make it with Document"):
        page.body.add_anchor("One", "home", params={})
