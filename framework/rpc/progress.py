"""How far something has come, as a value that a stream yields."""

from __future__ import annotations


class Progress:
    """`done` of `total` (None where nobody knows), and a `text` for people; a page shows it in a <progress> element.

    Example: ``yield Progress(3, 10, "third disk")``.
    """

    __slots__ = ("done", "text", "total")

    def __init__(self, done: float, total: float | None = None, text: str = "") -> None:
        self.done = done
        self.total = total
        self.text = text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Progress):
            return NotImplemented
        return (self.done, self.total, self.text) == (other.done, other.total, other.text)

    def __hash__(self) -> int:
        return hash((self.done, self.total, self.text))

    def __repr__(self) -> str:
        return f"Progress({self.done!r}, {self.total!r}, {self.text!r})"
