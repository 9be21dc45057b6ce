"""The pages of `notes`: list and search, add, edit, delete with a question before it, privileges.

Every write is POST → redirect → GET, so that reloading a page repeats nothing.
"""

from __future__ import annotations

import datetime

from appliance import attempts, frame, parts, places
from appliance.notes.fields import Draft, read_draft
from appliance.notes.store import MAX_NOTES, Changed, Note, NoteStore, Page, StoreFull
from appliance.notes.tokens import FIELD, Tokens
from appliance.panels import add_attempts, add_parts
from appliance.proc import Machine
from framework import HTTPError, Request, RequestHandler, Response
from framework.xhtml import Document, Element
from framework.xhtml.forms import Form

DONE = {"added": "The note was added.", "changed": "The note was changed.", "deleted": "The note was deleted."}
MAX_SEARCH_CHARACTERS = 100
PAPER = "M6 3h8l4 4v14H6ZM14 3v4h4M9 12h6M9 16h4"

store = NoteStore(places.state_directory() / "notes.sqlite")
tokens = Tokens(places.state_directory() / "form.key")
machine = Machine()


class Index(RequestHandler):
    """The notes with a form for a new one."""

    def get(self) -> Response:
        return self._show(Draft())

    def post(self) -> Response:
        tokens.check(self.request)
        draft = read_draft(self.request)
        if draft.errors:
            return self._show(draft, status=422)
        try:
            store.add(draft.title, draft.text)
        except StoreFull:
            full = f"There are {MAX_NOTES:,} notes, and no more fit. Delete one first."
            return self._show(Draft(draft.title, draft.text, {"title": full}), status=422)
        return _to_list(self.request, "added")

    def _show(self, draft: Draft, status: int = 200) -> Response:
        query = self.request.query
        words = " ".join(query.get("q", "").split())[:MAX_SEARCH_CHARACTERS]
        page = store.search(words, _number(query.get("page", "1")))
        document, main = frame.page(self.request, "Notes", "notes:index")
        actions = frame.add_title(main, "Notes", f"Kept in one SQLite file that only user {frame.user()} can read.")
        actions.add_anchor("New note", "#note-title", class_="button only-narrow")
        done = DONE.get(query.get("done", ""))
        if done and not draft.errors:
            main.add("p", done, class_="message good", role="status")
        columns = main.add("div", class_="columns")
        _add_list(columns.add("div"), self.request, page, words)
        visitor = tokens.visitor(self.request)
        card = frame.add_card(columns, "New note")
        form = card.add_form(
            self.request.get_url("notes:index"), values=draft.values(), errors=draft.errors, prefix="note"
        )
        _add_fields(form, visitor)
        form.add_submit("Add note", class_="main")
        form.add_error_summary("The note was not added:")
        return tokens.keep(self.request, Response.page(document, status), visitor)


class Edit(RequestHandler):
    """One note in a form."""

    def get(self, note_id: int) -> Response:
        note = _note(note_id)
        return self._show(note.id, note.revision, Draft.of(note))

    def post(self, note_id: int) -> Response:
        tokens.check(self.request)
        draft = read_draft(self.request)
        revision = _number(self.request.form.get("revision", ""))
        if draft.errors:
            return self._show(note_id, revision, draft, status=422)
        try:
            store.change(note_id, revision, draft.title, draft.text)
        except Changed:
            note = _note(note_id)
            told = "Somebody changed this note in the meantime. Sending it again puts yours in its place."
            return self._show(note.id, note.revision, Draft(draft.title, draft.text, {"text": told}), status=409)
        return _to_list(self.request, "changed")

    def _show(self, note_id: int, revision: int, draft: Draft, status: int = 200) -> Response:
        document, main = frame.page(self.request, "Edit note", "notes:index")
        frame.add_title(main, "Edit note", f"Note {note_id}")
        visitor = tokens.visitor(self.request)
        card = main.add("section", class_="card narrow", aria_label="Note")
        form = card.add_form(
            self.request.get_url("notes:edit", note_id=note_id),
            values=draft.values(),
            errors=draft.errors,
            prefix="note",
        )
        _add_fields(form, visitor)
        form.add_hidden("revision", revision)
        form.add_submit("Save", class_="main")
        _add_way_back(form, self.request)
        form.add_error_summary("The note was not saved:")
        return tokens.keep(self.request, Response.page(document, status), visitor)


class Delete(RequestHandler):
    """The question, and the deed."""

    def get(self, note_id: int) -> Response:
        note = _note(note_id)
        document, main = frame.page(self.request, "Delete note", "notes:index")
        frame.add_title(main, "Delete this note?", "It cannot be brought back.")
        visitor = tokens.visitor(self.request)
        card = main.add("section", class_="card narrow", aria_label="Note")
        _add_note_text(card, note)
        form = card.add_form(self.request.get_url("notes:delete", note_id=note_id), prefix="note")
        form.add_hidden(FIELD, tokens.make(visitor))
        form.add_submit("Delete", class_="danger")
        _add_way_back(form, self.request)
        return tokens.keep(self.request, Response.page(document), visitor)

    def post(self, note_id: int) -> Response:
        tokens.check(self.request)
        store.delete(note_id)
        return _to_list(self.request, "deleted")


def privileges(request: Request) -> Document:
    """What this back end tried to do to the other one, and the kernel's answers."""
    document, main = frame.page(request, "What notes may not do", "status:privileges")
    frame.add_title(main, "What notes may not do", "The other way round: the same attempts, made by this back end.")
    found = parts.find(machine)
    add_parts(frame.add_card(main, "Who runs what"), found)
    card = frame.add_card(main, "What notes may not do")
    tried = attempts.make("status", places.of("status", found, machine))
    add_attempts(card, f"notes, as user {frame.identity()},", tried)
    other = Element("a", "what status may not do", href=request.get_url("status:privileges"))
    card.add_paragraph("The other way round: ", other, ".", class_="after")
    return document


def _to_list(request: Request, done: str) -> Response:
    return Response.redirect(f"{request.get_url('notes:index')}?done={done}")


def _note(note_id: int) -> Note:
    note = store.get(note_id)
    if note is None:
        raise HTTPError(404, "There is no such note; perhaps it was deleted.")
    return note


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _add_fields(form: Form, visitor: str) -> None:
    form.add_hidden(FIELD, tokens.make(visitor))
    form.add_input("title", "Title", required=True, autocomplete="off")
    form.add_textarea("text", "Text", rows=7)


def _add_way_back(form: Form, request: Request) -> None:
    form.elements[-1].add("a", "Cancel", href=request.get_url("notes:index"), class_="button")


def _add_list(place: Element, request: Request, page: Page, words: str) -> None:
    here = request.get_url("notes:index")
    if page.found or words:
        search = place.add("form", action=here, method="get", role="search", class_="search")
        search.add(
            "input", type="search", name="q", value=words, aria_label="Search in the notes", placeholder="Search"
        )
        search.add("button", "Search", type="submit")
    if not page.found:
        _add_empty(place, here, words)
        return
    count = f"{page.found} {'note' if page.found == 1 else 'notes'}"
    line = place.add(
        "p", f"{count} with “{words}”. " if words else f"{count}, the last changed first.", class_="count soft"
    )
    if words:
        line.add("a", "Show all", href=here)
    notes = place.add("ul", class_="notes")
    for note in page.notes:
        item = notes.add("li", class_="card")
        _add_note_text(item, note)
        links = item.add("p", class_="note-links")
        for handler, word in (("notes:edit", "Edit"), ("notes:delete", "Delete")):
            link = links.add("a", word, href=request.get_url(handler, note_id=note.id))
            link.add("span", f" “{note.title}”", class_="hidden-text")
    if page.pages > 1:
        _add_pages(place, here, page, words)


def _add_note_text(place: Element, note: Note) -> None:
    head = place.add("div", class_="note-head")
    head.add_heading(2, note.title)
    changed = datetime.datetime.fromtimestamp(note.changed, datetime.UTC).astimezone()
    head.add("small").add("time", changed.strftime("%d %b %Y, %H:%M"), datetime=changed.isoformat(timespec="seconds"))
    if note.text:
        place.add("p", note.text, class_="note-text")


def _add_empty(place: Element, here: str, words: str) -> None:
    card = place.add("section", class_="card empty")
    frame.add_icon(card, PAPER)
    if words:
        card.add_heading(2, f"No note has “{words}” in it")
        card.add("p").add("a", "Show all notes", href=here)
    else:
        card.add_heading(2, "No notes yet")
        card.add("p", "What should the next person know about this machine?")


def _add_pages(place: Element, here: str, page: Page, words: str) -> None:
    from urllib.parse import urlencode

    row = place.add("nav", class_="pages", aria_label="Pages of notes")
    for number, word, rel in ((page.number - 1, "← Newer", "prev"), (page.number + 1, "Older →", "next")):
        if rel == "next":
            row.add("span", f"Page {page.number} of {page.pages}", class_="soft")
        if 1 <= number <= page.pages:
            query = urlencode({"q": words, "page": number} if words else {"page": number})
            row.add("a", word, href=f"{here}?{query}", rel=rel, class_="button")
        else:
            row.add("span")
