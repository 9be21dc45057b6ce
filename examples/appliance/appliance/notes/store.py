"""Notes in one SQLite file.

The file lies in a directory that only its user can enter. Every statement takes its values as parameters. No
connection is kept: each operation opens one, so worker processes share nothing and a stopped one holds no lock.
Rollback journal, cut to zero instead of deleted, temporary tables in memory: few writes, for flash.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from fastcore.values import dataclass

MAX_TITLE_CHARACTERS = 120
MAX_TEXT_CHARACTERS = 10_000
MAX_NOTES = 1_000
PAGE_NOTES = 20
BUSY_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS note (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1
) STRICT
"""
_COLUMNS = "id, title, text, created, changed, revision"
_FOUND = "instr(casefold(title), :needle) > 0 OR instr(casefold(text), :needle) > 0"


class StoreFull(Exception):
    """There are `MAX_NOTES` notes already."""


class Changed(Exception):
    """Somebody changed or deleted the note since it was read."""


@dataclass(frozen=True, slots=True)
class Note:
    """Times in seconds since the epoch; `revision` grows with each change."""

    id: int
    title: str
    text: str
    created: float
    changed: float
    revision: int


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the notes that were found, the last changed first. `number` and `pages` count from 1."""

    notes: tuple[Note, ...]
    found: int
    number: int
    pages: int


class NoteStore:
    """The notes in `file`, which is made when first needed.

    >>> store = NoteStore(Path("/var/lib/appliance/notes/notes.sqlite"))   # doctest: +SKIP
    >>> store.add("Filter", "Change it in May.")                           # doctest: +SKIP
    1
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def add(self, title: str, text: str) -> int:
        """The new note's id. Raises StoreFull."""
        now = time.time()
        with self._connect() as connection:
            (count,) = connection.execute("SELECT count(*) FROM note").fetchone()
            if count >= MAX_NOTES:
                raise StoreFull
            cursor = connection.execute(
                "INSERT INTO note (title, text, created, changed) VALUES (?, ?, ?, ?)", (title, text, now, now)
            )
            return int(cursor.lastrowid or 0)

    def get(self, note_id: int) -> Note | None:
        with self._connect() as connection:
            row = connection.execute(f"SELECT {_COLUMNS} FROM note WHERE id = ?", (note_id,)).fetchone()  # noqa: S608
        return Note(*row) if row else None

    def change(self, note_id: int, revision: int, title: str, text: str) -> None:
        """Raises Changed where the note is no longer at `revision`."""
        with self._connect() as connection:
            cursor = connection.execute(
                "UPDATE note SET title = ?, text = ?, changed = ?, revision = revision + 1"
                " WHERE id = ? AND revision = ?",
                (title, text, time.time(), note_id, revision),
            )
            if cursor.rowcount != 1:
                raise Changed

    def delete(self, note_id: int) -> bool:
        """Whether there was such a note."""
        with self._connect() as connection:
            return connection.execute("DELETE FROM note WHERE id = ?", (note_id,)).rowcount == 1

    def search(self, words: str = "", number: int = 1) -> Page:
        """Notes with `words` in title or text, whatever the case; "" finds all. A page too far is the last one."""
        values: dict[str, str | int] = {"needle": words.casefold()}
        condition = _FOUND if words else "1"
        with self._connect() as connection:
            (found,) = connection.execute(f"SELECT count(*) FROM note WHERE {condition}", values).fetchone()  # noqa: S608
            pages = max(1, -(-found // PAGE_NOTES))
            number = min(max(1, number), pages)
            values |= {"limit": PAGE_NOTES, "offset": (number - 1) * PAGE_NOTES}
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM note WHERE {condition} ORDER BY changed DESC, id DESC"  # noqa: S608
                " LIMIT :limit OFFSET :offset",
                values,
            ).fetchall()
        return Page(tuple(Note(*row) for row in rows), found, number, pages)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at the end, rolled back on an error, closed either way."""
        connection = sqlite3.connect(self.file, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = TRUNCATE")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.create_function("casefold", 1, str.casefold, deterministic=True)
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(_SCHEMA)
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()
