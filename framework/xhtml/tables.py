"""Tables from rows of any kind: sequences, dictionaries, dataclasses, database rows, objects with attributes.

`build_table` puts head, body and foot together; how rows become cells is in `framework.xhtml.rows`. No SQL here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from fastcore.values import field_names, replace
from framework.xhtml.nodes import Content, Element
from framework.xhtml.rows import Column, Plan, Render, Rows, is_number


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
    Raises ValueError where headings and columns differ in number, or where `formats` or `row_header` name no column.

    >>> build_table([Disk("sda", 0.42)], formats={"used": ".0%"}, row_header="name", caption="Disks")
    """
    table = Element("table", **attributes)
    if caption is not None:
        table.add("caption", caption)
    first, all_rows = _peek(rows, stream)
    columns_used = _columns(first, columns, headings, formats or {}, row_header)
    plan = Plan(columns_used, row_class, row_id)
    if any(column.heading is not None for column in columns_used):
        line = table.add("thead").add("tr")
        values = [None] * len(columns_used) if first is _NOTHING else plan.values(first)
        for column, value in zip(columns_used, values, strict=True):
            names = column.classes(is_number(value))
            if names is None:
                line.add("th", column.heading, scope="col")
            else:
                line.add("th", column.heading, scope="col", class_=names)
    if first is _NOTHING and empty is not None:
        table.add("tbody").add("tr").add("td", empty, colspan=max(1, len(columns_used)), class_="empty")
    else:
        table.append(Rows(all_rows, plan, keep=not stream))
    if footers is not None:
        _add_footers(table, footers, columns_used)
    return table


class _Nothing:
    pass


_NOTHING = _Nothing()


def _peek(rows: Any, stream: bool) -> tuple[Any, Callable[[], Iterable[Any]]]:
    """The first row, and a function that gives all of them."""
    if not stream:
        kept = list(rows() if callable(rows) else rows)
        return (kept[0] if kept else _NOTHING), lambda: kept
    if callable(rows):
        return next(iter(rows()), _NOTHING), rows
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
    names = field_names(row)
    if names is not None:
        return names
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
    known = [column.key if isinstance(column, Column) else column for column in keys]
    for key in (*formats, *([] if row_header is None else [row_header])):
        if keys and key not in known and key not in range(len(keys)):
            raise ValueError(f"the table has no column {key!r}; there are {', '.join(map(repr, known)):.200}")
    used = []
    for place, key in enumerate(keys):
        given = key if isinstance(key, Column) else None
        key = key if given is None else given.key
        heading = heads[place] if heads is not None else None if given is None else given.heading
        if heading is None and isinstance(key, str):
            heading = key.replace("_", " ").strip().capitalize()
        header = row_header is not None and row_header in (key, place)
        if given is None:
            render = formats.get(key, formats.get(place)) if formats else None
            used.append(Column(key, heading, render, None, header))
        else:
            used.append(replace(given, heading=heading, header=header or given.header))
    return used


def _add_footers(table: Element, footers: Any, columns: list[Column]) -> None:
    lines = list(footers)
    if not lines or not isinstance(lines[0], (list, tuple)):
        lines = [lines]
    foot = table.add("tfoot")
    for cells in lines:
        line = foot.add("tr")
        for place, column in enumerate(columns or [Column(place) for place in range(len(cells))]):
            value = cells[place] if place < len(cells) else None
            render = column.render if is_number(value) else None
            line.append(replace(column, render=render, header=place == 0).cell(value))
