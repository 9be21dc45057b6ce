"""What a person typed into the form of a note, checked. Nothing typed is lost: the form comes back filled in."""

from __future__ import annotations

from appliance.notes.store import MAX_TEXT_CHARACTERS, MAX_TITLE_CHARACTERS, Note
from fastcore.values import dataclass, field
from framework import Request


@dataclass(frozen=True, slots=True)
class Draft:
    """Title and text as typed, and the mistakes by field name."""

    title: str = ""
    text: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, note: Note) -> Draft:
        return cls(note.title, note.text)

    def values(self) -> dict[str, str]:
        """By field name, for the form."""
        return {"title": self.title, "text": self.text}


def read_draft(request: Request) -> Draft:
    """The fields of the form. Browsers send line breaks as CR LF; they are kept as LF."""
    title = " ".join(request.form.get("title", "").split())
    text = request.form.get("text", "").replace("\r\n", "\n").strip("\n")
    errors = {}
    if not title:
        errors["title"] = "A note needs a title."
    elif len(title) > MAX_TITLE_CHARACTERS:
        errors["title"] = f"The title has {len(title)} characters; {MAX_TITLE_CHARACTERS} fit."
    if len(text) > MAX_TEXT_CHARACTERS:
        errors["text"] = f"The text has {len(text):,} characters; {MAX_TEXT_CHARACTERS:,} fit."
    for name, typed in (("title", title), ("text", text)):
        if name not in errors and "\0" in typed:
            errors[name] = "A character that cannot be kept (NUL) is in it."
    return Draft(title, text, errors)
