"""What is wrong with a site, said so that it can be put right.

A `Problem` names the file, the line (where it is known for certain), the key, the reason and the way out. Problems are
collected, never raised one by one; `SiteError` carries all errors of one site file. No files are read here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from fastcore.values import dataclass

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding about a site.

    file    the site file as it was given, or "" where the finding is about the command line or the system
    key     the dotted key, such as ``backend.status.user`` or ``host[console.localhost].static``; "" for the whole file
    reason  what is wrong, in one sentence without a full stop
    hint    what to write or do instead; "" where there is nothing better to say
    line    line number in `file`, from 1; None where it is not known for certain
    level   "error" (nothing starts), "warning" (it starts, but look at it), "note" (a choice made for you)

    >>> print(Problem("site.toml", "backend.status.usr", "unknown key", 'did you mean "user"?', line=9))
    site.toml:9: error: backend.status.usr: unknown key; did you mean "user"?
    """

    file: str
    key: str
    reason: str
    hint: str = ""
    line: int | None = None
    level: Level = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line is not None else self.file
        text = ": ".join(part for part in (place, self.level, self.key, self.reason) if part)
        return f"{text}; {self.hint}" if self.hint else text

    def to_dict(self) -> dict[str, str | int | None]:
        """The same as plain values, for JSON."""
        return {
            "level": self.level,
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "reason": self.reason,
            "hint": self.hint,
        }


class SiteError(Exception):
    """A site file that cannot be used; `problems` holds everything that was found, warnings included, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[SiteError], tuple[list[Problem]]]:
        return SiteError, (self.problems,)
