"""Tables from rows of any kind: sequences, dictionaries, dataclasses, database rows, objects with attributes.

`build_table` makes a real tree, or, with `stream=True`, rows that are made while the document is sent. No SQL here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from framework.xhtml.nodes import Content, Element, Streamed

Render = Callable[[Any], Content] | str
"""How a value becomes content: a function of the value, or a format specification as `format()` takes it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """One column.

    key: which value of a row: a number for sequences, a name for dictionaries and objects, or a function of the row.
    heading: what stands above; the key, made readable, by default. render: see `Render`. class_: for all its cells.
    header: whether its cells head their rows (`<th scope="row">`). empty: what stands for None.
    """

    key: Any
    heading: Content = None
    render: Render | None = None
    class_: str | None = None
    header: bool = False
    empty: Content = ""

    def value(self, row: Any, get: Callable[[Any], Any]) -> Any:
        """This column's value in a row; get: how the row is read."""
        return self.key(row) if callable(self.key) else get(self.key)


def build_table(
    rows: Any,
    *,
    headings: Iterable[Content] | None = None,
    columns: Iterable[Any] | None = None,
    caption: Content = None,
    footers: Iterable[Iterable[Content]] | Iterable[Content] | None = None,
    formats: Mapping[Any, Render] | None = None,
    row_class: Callable[[Any], str | None] | None = None,
    row_id: Callable[[Any], str | None] | None = None,
    row_header: Any = None,
    empty: Content = None,
    stream: bool = False,
    **attributes: Any,
) -> Element:
    """A <table>.

    rows: an iterable of rows; with `stream`, better a function that returns one, so that the page can be written twice.
    headings: one for each column. columns: keys or `Column`s; by default all that the first row has. caption: what the
    table is. footers: one row, or several. formats: `Render`s by key. row_class, row_id: functions of the row.
    row_header: the key of the column that heads the rows. empty: what stands in one wide cell when there is no row.
    stream: True makes rows while they are sent, in constant memory; the tree then holds no rows.

    Numbers stand to the right (class `number`); truth values are "yes" and "no"; None is an empty cell.
    Raises ValueError where headings and columns differ in number.

    >>> build_table([Disk("sda", 0.42)], formats={"used": ".0%"}, row_header="name", caption="Disks")
    """
    table = Element("table", **attributes)
    if caption is not None:
        table.add("caption", caption)
    first, all_rows = _peek(rows, stream)
    plan = _columns(first, columns, headings, formats or {}, row_header)
    if any(column.heading is not None for column in plan):
        line = table.add("thead").add("tr")
        get = None if first is _NOTHING else _getter(first)
        for column in plan:
            numeric = get is not None and _is_number(column.value(first, get))
            line.add("th", column.heading, scope="col", class_=_names(column, numeric))
    body = table.add("tbody")
    if first is _NOTHING:
        if empty is not None:
            body.add("tr").add("td", empty, colspan=max(1, len(plan)), class_="empty")
    elif stream:
        body.append(Streamed(lambda: (_row(row, plan, row_class, row_id) for row in all_rows())))
    else:
        for row in all_rows():
            body.append(_row(row, plan, row_class, row_id))
    if footers is not None:
        _add_footers(table, footers, plan)
    return table


class _Nothing:
    pass


_NOTHING = _Nothing()


def _peek(rows: Any, stream: bool) -> tuple[Any, Callable[[], Iterable[Any]]]:
    """The first row, and a function that gives all of them."""
    if callable(rows):
        first = next(iter(rows()), _NOTHING)
        return first, rows
    if not isinstance(rows, (list, tuple)) and not stream:
        rows = list(rows)
    if isinstance(rows, (list, tuple)):
        return (rows[0] if rows else _NOTHING), lambda: rows
    iterator = iter(rows)
    first = next(iterator, _NOTHING)
    if iterator is rows:
        return first, _once(first, iterator)
    return first, lambda: rows


def _once(first: Any, rest: Iterator[Any]) -> Callable[[], Iterable[Any]]:
    taken: list[bool] = []

    def rows() -> Iterable[Any]:
        if taken:
            raise ValueError("the rows of this table were an iterator and are used up; give a function that makes them")
        taken.append(True)
        return chain([first], rest)

    return rows


def _keys(row: Any) -> Sequence[Any]:
    """What a row has, in order."""
    mapping = getattr(row, "_mapping", row)
    if isinstance(mapping, Mapping):
        return list(mapping)
    if dataclasses.is_dataclass(row):
        return [field.name for field in dataclasses.fields(row)]
    if isinstance(row, tuple) and hasattr(row, "_fields"):
        return list(row._fields)
    if isinstance(row, Sequence) and not isinstance(row, str):
        return range(len(row))
    if hasattr(row, "__table__"):
        return [column.key for column in row.__table__.columns]
    if row is _NOTHING:
        return []
    raise TypeError(f"a row of type {type(row).__name__} does not say its columns: give columns=[…]")


def _columns(
    first: Any,
    columns: Iterable[Any] | None,
    headings: Iterable[Content] | None,
    formats: Mapping[Any, Render],
    row_header: Any,
) -> list[Column]:
    heads = None if headings is None else list(headings)
    keys = list(columns) if columns is not None else list(_keys(first))
    if not keys and heads is not None:
        keys = list(range(len(heads)))
    if heads is not None and len(heads) != len(keys):
        raise ValueError(f"the table has {len(keys)} columns ({keys!r:.80}) and {len(heads)} headings")
    plan = []
    for place, key in enumerate(keys):
        column = key if isinstance(key, Column) else Column(key, render=formats.get(key, formats.get(place)))
        heading = heads[place] if heads is not None else column.heading
        if heading is None and isinstance(column.key, str):
            heading = column.key.replace("_", " ").strip().capitalize()
        header = column.header or (row_header is not None and row_header in (column.key, place))
        plan.append(dataclasses.replace(column, heading=heading, header=header))
    return plan


def _getter(row: Any) -> Callable[[Any], Any]:
    if hasattr(row, "_mapping"):
        row = row._mapping
    if isinstance(row, Mapping):
        return row.get
    if isinstance(row, Sequence):
        return lambda key: getattr(row, key) if isinstance(key, str) else row[key]
    return lambda key: getattr(row, key)


def _row(
    row: Any,
    plan: list[Column],
    row_class: Callable[[Any], str | None] | None,
    row_id: Callable[[Any], str | None] | None,
) -> Element:
    line = Element("tr")
    if row_class is not None:
        line.set(class_=row_class(row))
    if row_id is not None:
        line.set(id=row_id(row))
    get = _getter(row)
    add = line.add
    for column in plan:
        content, number = cell_content(column.value(row, get), column)
        tag = "th" if column.header else "td"
        if number or column.class_ is not None or column.header:
            add(tag, content, class_=_names(column, number), scope="row" if column.header else None)
        else:
            add(tag, content)
    return line


def cell_content(value: Any, column: Column) -> tuple[Content, bool]:
    """What stands in a cell for a value, and whether it is a number."""
    kind = type(value)
    number = kind is int or kind is float or (kind is not str and hasattr(value, "__round__") and kind is not bool)
    if value is None:
        return column.empty, False
    render = column.render
    if render is not None:
        return (format(value, render) if isinstance(render, str) else render(value)), number
    if kind is bool:
        return ("yes" if value else "no"), False
    return (str(value) if number else value), number


def _add_footers(table: Element, footers: Any, plan: list[Column]) -> None:
    lines = list(footers)
    if not lines or not isinstance(lines[0], (list, tuple)):
        lines = [lines]
    foot = table.add("tfoot")
    for cells in lines:
        line = foot.add("tr")
        for place, column in enumerate(plan or [Column(place) for place in range(len(cells))]):
            value = cells[place] if place < len(cells) else None
            number = _is_number(value)
            content, _ = cell_content(value, column if number else dataclasses.replace(column, render=None))
            head = place == 0
            line.add("th" if head else "td", content, class_=_names(column, number), scope="row" if head else None)


def _names(column: Column, number: bool) -> str | None:
    return " ".join(filter(None, (column.class_, "number" if number else None))) or None


def _is_number(value: Any) -> bool:
    return hasattr(value, "__round__") and not isinstance(value, bool)
