"""The rows of a table: kept as the values that they came from until somebody looks at them as elements.

`Rows` is the <tbody>. Written without having been looked at, it goes from values to text directly, row by row; any
step into the tree (`find`, `children`, `walk` …) first makes the elements, once. Both ways give the same text. How a
table is put together is in `framework.xhtml.tables`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from itertools import islice
from operator import attrgetter, itemgetter
from typing import Any
from weakref import ref

from fastcore.values import dataclass
from framework.xhtml import serialise
from framework.xhtml.attributes import label_of
from framework.xhtml.escape import escape_text
from framework.xhtml.nodes import Content, Element, Node

Render = Callable[[Any], Content] | str
"""How a value becomes content: a function of the value, or a format specification as `format()` takes it."""

Read = Callable[[Any], Any]

ROWS_AT_ONCE = 16
"""How many rows are written before the stream looks whether they make a chunk."""


@dataclass(frozen=True, slots=True)
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

    def content(self, value: Any) -> tuple[Content, bool]:
        """What stands in a cell for a value, and whether it is a number."""
        if value is None:
            return self.empty, False
        number = is_number(value)
        if self.render is not None:
            return (format(value, self.render) if isinstance(self.render, str) else self.render(value)), number
        if isinstance(value, bool):
            return ("yes" if value else "no"), False
        if isinstance(value, Enum) and not number:
            return label_of(value), False
        return (str(value) if number else value), number

    def classes(self, number: bool) -> str | None:
        """The cell's `class`."""
        if self.class_ is None:
            return "number" if number else None
        return f"{self.class_} number" if number else self.class_

    def cell(self, value: Any) -> Element:
        """The cell for a value."""
        return self.cell_of(*self.content(value))

    def cell_of(self, content: Content, number: bool) -> Element:
        """The cell for what `content` gave."""
        cell = Element("th" if self.header else "td", content)
        if self.header:
            cell.set(scope="row")
        names = self.classes(number)
        if names is not None:
            cell.set(class_=names)
        return cell


def is_number(value: Any) -> bool:
    """Whether a value is shown as a number: int, float, Decimal, Fraction and the like, but no truth value."""
    kind = type(value)
    return kind is int or kind is float or (hasattr(kind, "__round__") and kind is not bool)


class Plan:
    """How the rows of one table are read and shown."""

    __slots__ = ("_cells", "_readers", "columns", "plain_columns", "row_class", "row_id")

    def __init__(
        self,
        columns: Sequence[Column],
        row_class: Callable[[Any], str | None] | None,
        row_id: Callable[[Any], str | None] | None,
    ) -> None:
        self.columns = tuple(columns)
        self.row_class = row_class
        self.row_id = row_id
        self._readers: dict[type, tuple[Read, ...]] = {}
        self._cells = [(column, column.render is not None, *_tags_of(column)) for column in self.columns]
        places = [column.key for column in self.columns] == list(range(len(self.columns)))
        special = any(column.render is not None or column.class_ or column.header for column in self.columns)
        self.plain_columns = places and not special and row_class is None and row_id is None

    def values(self, row: Any) -> list[Any]:
        """The values of a row, one for each column. Raises ValueError where the row lacks one."""
        kind = type(row)
        readers = self._readers.get(kind)
        if readers is None:
            readers = self._readers[kind] = tuple(reader(kind, row, column.key) for column in self.columns)
        try:
            return [read(row) for read in readers]
        except (IndexError, KeyError, AttributeError) as error:
            keys = [column.key for column in self.columns]
            raise ValueError(f"a row lacks one of the columns {keys!r:.100}: {row!r:.100} ({error})") from error

    def element(self, row: Any) -> Element:
        """A row as an element."""
        line = self._line(row)
        line.append([column.cell(value) for column, value in zip(self.columns, self.values(row), strict=True)])
        return line

    def _line(self, row: Any) -> Element:
        line = Element("tr")
        if self.row_class is not None:
            line.set(class_=self.row_class(row))
        if self.row_id is not None:
            line.set(id=self.row_id(row))
        return line

    def text(self, row: Any) -> str:
        """A row as `element` makes it, written."""
        # PERF: a tenth of the time that it takes by way of elements (bench/xhtml.py, Plan.element).
        count = len(self.columns)
        if self.plain_columns and (type(row) is tuple or type(row) is list) and len(row) >= count:
            cells = row if len(row) == count else row[:count]
            for value in cells:
                if type(value) is not str:
                    break
            else:
                return f"<tr><td>{'</td><td>'.join(map(escape_text, cells))}</td></tr>" if cells else "<tr></tr>"
        else:
            cells = self.values(row)
        special = self.row_class is not None or self.row_id is not None
        text = f"<tr{serialise.attribute_text(self._line(row))}>" if special else "<tr>"
        for value, (column, renders, start, number_start, end) in zip(cells, self._cells, strict=True):
            kind = type(value)
            if kind is str and not renders:
                text += f"{start}{escape_text(value)}{end}"
            elif (kind is int or kind is float) and not renders:
                text += f"{number_start}{value}{end}"
            else:
                content, number = column.content(value)
                if type(content) is str:
                    text += f"{number_start if number else start}{escape_text(content)}{end}"
                else:
                    parts: list[str] = []
                    column.cell_of(content, number)._write(parts)
                    text += "".join(parts)
        return text + "</tr>"


@lru_cache(maxsize=256)
def _tags(header: bool, names: str | None) -> tuple[str, str]:
    """Start and end tag of a cell."""
    tag = "th" if header else "td"
    cell = Element(tag, scope="row" if header else None, class_=names)
    return f"<{tag}{serialise.attribute_text(cell)}>", f"</{tag}>"


def _tags_of(column: Column) -> tuple[str, str, str]:
    """Start tag, start tag for a number, and end tag of a column's cells."""
    start, end = _tags(column.header, column.classes(False))
    return start, _tags(column.header, column.classes(True))[0], end


def reader(kind: type, row: Any, key: Any) -> Read:
    """A function that takes the value of a key from a row of this type."""
    if callable(key):
        return key  # type: ignore[no-any-return]
    if issubclass(kind, Mapping):
        return lambda row: row.get(key)
    if hasattr(row, "_mapping"):
        return lambda row: row._mapping[key] if isinstance(key, str) else row[key]
    if isinstance(key, str):
        return attrgetter(key)
    return itemgetter(key)


class Rows(Element):
    """A <tbody> made from values.

    rows: a function that gives them. keep: whether elements may be made of them; where not, the tree holds none, and
    they are read anew each time the table is written.
    """

    __slots__ = ("_keep", "_made", "_plan", "_rows")

    def __init__(self, rows: Callable[[], Iterable[Any]], plan: Plan, *, keep: bool) -> None:
        self._rows: Callable[[], Iterable[Any]] | None = rows
        self._plan = plan
        self._keep = keep
        self._made: Any = ()
        super().__init__("tbody")
        self._rows = rows

    @property
    def _children(self) -> Any:
        if self._rows is not None and self._keep:
            made = [self._plan.element(row) for row in self._rows()]
            self._rows = None
            me: ref[Element] = ref(self)
            for line in made:
                line._parent = me
                if hasattr(self, "origin"):
                    for element in (line, *line.elements):
                        element.origin = self.origin
            self._made = made
        return self._made

    @_children.setter
    def _children(self, children: Any) -> None:
        self._rows = None
        self._made = children

    def _copy_into(self, copy: Element) -> None:
        super()._copy_into(copy)
        if isinstance(copy, Rows):
            copy._keep, copy._plan, copy._made = self._keep, self._plan, ()
            copy._rows = None if self._keep else self._rows

    def _parts(self) -> Iterator[str | Node]:
        if self._rows is None:
            yield from self._made
            return
        rows = map(self._plan.text, self._rows())
        while batch := "".join(islice(rows, ROWS_AT_ONCE)):
            yield Written(batch)

    def _write(self, parts: list[str]) -> None:
        if self._rows is None:
            super()._write(parts)
            return
        parts.append(f"<tbody{serialise.attribute_text(self) if self._attributes else ''}>")
        text = self._plan.text
        for row in self._rows():
            parts.append(text(row))
        parts.append("</tbody>")


class Written(Node):
    """Text that is written already."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._parent = None
        self._text = text

    def _write(self, parts: list[str]) -> None:
        parts.append(self._text)
