"""The demo's notes: the store, the draft that a person typed, and the token of the form. No server, no root."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "examples/appliance"))

from appliance.notes import store as store_module
from appliance.notes.fields import read_draft
from appliance.notes.store import MAX_TEXT_CHARACTERS, MAX_TITLE_CHARACTERS, PAGE_NOTES, Changed, NoteStore, StoreFull
from appliance.notes.tokens import COOKIE, FIELD, Tokens, from_here

from framework import HTTPError, Request, Response
from framework.wsgi import EnvironSource


@pytest.fixture
def store(tmp_path: Path) -> NoteStore:
    return NoteStore(tmp_path / "notes.sqlite")


def request(fields: dict[str, str] | None = None, **variables: str) -> Request:
    from io import BytesIO
    from urllib.parse import urlencode

    body = urlencode(fields or {}).encode("utf-8")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/", "HTTP_HOST": "console.localhost:8080", "wsgi.input": BytesIO(body),
        "CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body)), **variables,
    }  # fmt: skip
    return Request(EnvironSource(environ))


class TestStore:
    @given(title=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=120), text=st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), max_size=300))  # fmt: skip
    @settings(max_examples=50)
    def test_gives_back_what_it_was_given(
        self, tmp_path_factory: pytest.TempPathFactory, title: str, text: str
    ) -> None:
        store = NoteStore(tmp_path_factory.mktemp("store") / "notes.sqlite")
        note = store.get(store.add(title, text))
        assert note is not None
        assert (note.title, note.text, note.revision) == (title, text, 1)
        assert [found.title for found in store.search(title).notes] == [title]

    @pytest.mark.parametrize("words", ["'; DROP TABLE note; --", "%", "_", "\\", '"', "*", "100%"])
    def test_searched_words_mean_themselves(self, store: NoteStore, words: str) -> None:
        store.add("plain", "text")
        store.add(f"with {words} in it", "")
        assert [note.title for note in store.search(words).notes] == [f"with {words} in it"]

    def test_search_knows_no_case_in_any_script(self, store: NoteStore) -> None:
        store.add("Straße ÄÖÜ ΣΊΣΥΦΟΣ", "")
        for words in ("STRASSE", "äöü", "σίσυφος"):
            assert store.search(words).found == 1

    def test_the_last_changed_comes_first_and_pages_are_bounded(self, store: NoteStore) -> None:
        ids = [store.add(str(number), "") for number in range(PAGE_NOTES + 3)]
        store.change(ids[0], 1, "changed", "")
        first, last = store.search(), store.search(number=99)
        assert first.notes[0].title == "changed"
        assert len(first.notes) == PAGE_NOTES
        assert (last.number, last.pages, len(last.notes)) == (2, 2, 3)

    def test_a_note_that_somebody_else_changed_is_not_overwritten(self, store: NoteStore) -> None:
        note = store.add("one", "")
        store.change(note, 1, "two", "")
        with pytest.raises(Changed):
            store.change(note, 1, "three", "")
        found = store.get(note)
        assert found is not None
        assert (found.title, found.revision) == ("two", 2)

    def test_a_note_that_is_gone(self, store: NoteStore) -> None:
        note = store.add("one", "")
        assert store.delete(note)
        assert not store.delete(note)
        assert store.get(note) is None
        with pytest.raises(Changed):
            store.change(note, 1, "two", "")

    def test_numbers_are_not_given_twice(self, store: NoteStore) -> None:
        first = store.add("one", "")
        store.delete(first)
        assert store.add("two", "") > first

    def test_a_full_store_takes_no_more(self, store: NoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(store_module, "MAX_NOTES", 3)
        for number in range(3):
            store.add(str(number), "")
        with pytest.raises(StoreFull):
            store.add("one too many", "")
        assert store.search().found == 3

    def test_writers_wait_for_one_another(self, store: NoteStore) -> None:
        def write() -> None:
            for number in range(10):
                store.add(f"{threading.get_ident()} {number}", "")

        writers = [threading.Thread(target=write) for _ in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert store.search().found == 40

    def test_an_error_on_the_way_changes_nothing(self, store: NoteStore) -> None:
        note = store.add("kept", "")
        with pytest.raises(sqlite3.Error):
            store.change(note, 1, None, "lost")  # type: ignore[arg-type]
        found = store.get(note)
        assert found is not None
        assert found.title == "kept"

    def test_leaves_no_journal_to_replay_and_no_shared_memory(self, store: NoteStore) -> None:
        store.add("one", "")
        sizes = {path.name: path.stat().st_size for path in store.file.parent.iterdir()}
        assert sizes.pop("notes.sqlite") > 0
        assert set(sizes.values()) <= {0}
        assert not any(name.endswith(("-wal", "-shm")) for name in sizes)


class TestDraft:
    def test_is_what_was_typed(self) -> None:
        draft = read_draft(request({"title": "  Fan \t filter ", "text": "one\r\ntwo\r\n"}))
        assert (draft.title, draft.text, draft.errors) == ("Fan filter", "one\ntwo", {})

    @pytest.mark.parametrize(
        ("title", "text", "wrong"),
        [
            ("", "", {"title"}),
            (" \n ", "", {"title"}),
            ("t" * MAX_TITLE_CHARACTERS, "x" * MAX_TEXT_CHARACTERS, set()),
            ("t" * (MAX_TITLE_CHARACTERS + 1), "x" * (MAX_TEXT_CHARACTERS + 1), {"title", "text"}),
            ("a\0b", "c\0d", {"title", "text"}),
        ],
    )
    def test_mistakes(self, title: str, text: str, wrong: set[str]) -> None:
        assert set(read_draft(request({"title": title, "text": text})).errors) == wrong

    def test_of_a_form_without_its_fields(self) -> None:
        assert set(read_draft(request({})).errors) == {"title"}


class TestTokens:
    @pytest.fixture
    def tokens(self, tmp_path: Path) -> Tokens:
        return Tokens(tmp_path / "form.key")

    def submit(self, tokens: Tokens, visitor: str, token: str, **variables: str) -> None:
        tokens.check(request({FIELD: token}, HTTP_COOKIE=f"{COOKIE}={visitor}", **variables))

    def test_own_form_is_taken(self, tokens: Tokens) -> None:
        visitor = tokens.visitor(request())
        self.submit(tokens, visitor, tokens.make(visitor))
        self.submit(tokens, visitor, tokens.make(visitor), HTTP_ORIGIN="http://console.localhost:8080")
        self.submit(tokens, visitor, tokens.make(visitor), HTTP_SEC_FETCH_SITE="same-origin")

    @pytest.mark.parametrize(
        "variables",
        [
            {"HTTP_SEC_FETCH_SITE": "cross-site"},
            {"HTTP_SEC_FETCH_SITE": "same-site"},
            {"HTTP_ORIGIN": "null"},
            {"HTTP_ORIGIN": "http://console.localhost:9090"},
            {"HTTP_ORIGIN": "http://wall.localhost:8080"},
            {"HTTP_ORIGIN": ""},
            {"HTTP_ORIGIN": "http://["},
        ],
    )
    def test_another_origin_is_refused(self, tokens: Tokens, variables: dict[str, str]) -> None:
        visitor = tokens.visitor(request())
        with pytest.raises(HTTPError) as caught:
            self.submit(tokens, visitor, tokens.make(visitor), **variables)
        assert caught.value.status == 403

    @pytest.mark.parametrize("token", ["", "0" * 64, "ä", "\ud800".encode("utf-8", "replace").decode()])
    def test_a_wrong_token_is_refused(self, tokens: Tokens, token: str) -> None:
        with pytest.raises(HTTPError, match="out of date"):
            self.submit(tokens, tokens.visitor(request()), token)

    def test_a_visitor_without_a_cookie_is_refused(self, tokens: Tokens) -> None:
        with pytest.raises(HTTPError, match="out of date"):
            tokens.check(request({FIELD: tokens.make("")}))

    def test_nobody_without_the_key_can_make_one(self, tokens: Tokens, tmp_path: Path) -> None:
        (tmp_path / "other").mkdir()
        forger = Tokens(tmp_path / "other" / "form.key")
        assert tokens.make("visitor") != forger.make("visitor")

    def test_the_key_is_kept_and_for_its_user_alone(self, tokens: Tokens, tmp_path: Path) -> None:
        token = tokens.make("visitor")
        assert Tokens(tmp_path / "form.key").make("visitor") == token
        assert stat.S_IMODE((tmp_path / "form.key").stat().st_mode) == 0o600
        assert os.listdir(tmp_path) == ["form.key"]

    def test_a_broken_key_is_made_anew(self, tokens: Tokens, tmp_path: Path) -> None:
        (tmp_path / "form.key").write_bytes(b"short")
        assert tokens.make("visitor") == Tokens(tmp_path / "form.key").make("visitor")
        assert (tmp_path / "form.key").stat().st_size == 32

    def test_workers_that_start_at_once_agree(self, tmp_path: Path) -> None:
        made: list[str] = []
        start = threading.Barrier(8)

        def work() -> None:
            start.wait()
            made.append(Tokens(tmp_path / "form.key").make("visitor"))

        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(set(made)) == 1

    def test_a_browser_that_has_its_cookie_is_not_given_another(self, tokens: Tokens) -> None:
        visitor = tokens.visitor(request())
        known = request(HTTP_COOKIE=f"{COOKIE}={visitor}")
        assert tokens.visitor(known) == visitor
        assert tokens.keep(known, Response.text(""), visitor).cookies is None
        assert tokens.visitor(request(HTTP_COOKIE=f"{COOKIE}=short")) != "short"

    def test_programs_that_say_nothing_are_from_here(self) -> None:
        assert from_here(request())
