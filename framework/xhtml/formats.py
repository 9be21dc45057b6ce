"""Values as the fields of a form hold them: a date as `2030-01-31`, a colour as `#1d5fa8` (HTML §4.10.5.1).

A browser shows nothing for a `value` that the type of an <input> cannot hold, and the page is not valid with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, time
from enum import Enum
from typing import Any

from fastcore.values import dataclass, field


def sent(value: Any) -> str:
    """A value as a form sends it: an Enum's value, a truth value as "on" or "", else its text."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "on" if value else ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Format:
    """What an <input> of one type holds.

    text: a value as it is written there. pattern: what such a text looks like. read: raises ValueError for what looks
    like one and is none (`2030-02-30`). attributes: of the line of text that stands for it.
    """

    pattern: re.Pattern[str]
    text: Callable[[Any], str] = sent
    read: Callable[[str], Any] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    def holds(self, text: str, *, several: bool = False) -> bool:
        """Whether an input shows a text. several: whether it holds some, between commas."""
        texts = text.split(",") if several else [text]
        return all(self._holds(each.strip() if several else each) for each in texts)

    def _holds(self, text: str) -> bool:
        if self.pattern.fullmatch(text) is None:
            return False
        try:
            if self.read is not None:
                self.read(text)
        except ValueError:
            return False
        return True


def _date(value: Any) -> str:
    return value.date().isoformat() if isinstance(value, datetime) else sent(value)


def _time(value: Any) -> str:
    if isinstance(value, datetime):
        value = value.time()
    if isinstance(value, time):
        return value.replace(tzinfo=None).isoformat(_parts(value))
    return sent(value)


def _date_and_time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec=_parts(value))
    if isinstance(value, date):
        return f"{value.isoformat()}T00:00"
    return sent(value)


def _parts(value: datetime | time) -> str:
    """As far as a browser reads it: to the millisecond."""
    return "milliseconds" if value.microsecond else "seconds" if value.second else "minutes"


def _month(value: Any) -> str:
    return f"{value:%Y-%m}".zfill(7) if isinstance(value, date) else sent(value)


def _week(value: Any) -> str:
    if not isinstance(value, date):
        return sent(value)
    year, week, _ = value.isocalendar()
    return f"{year:04}-W{week:02}"


def _read_week(text: str) -> None:
    date.fromisocalendar(int(text[:4]), int(text[6:]), 1)


def _read_month(text: str) -> None:
    date.fromisoformat(f"{text}-01")


_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,3})?)?"
_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_ADDRESS = re.compile(r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?")
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HOST = rf"(?:(?:{_LABEL}\.)*[a-z](?:[a-z0-9-]*[a-z0-9])?|{_BYTE}(?:\.{_BYTE}){{3}})"
_PATH = r"(?:[a-z0-9!$&'()*+,;=:@/?_~.-]|%[0-9a-f]{2})*"
_URL = re.compile(rf"https?://{_HOST}(?::[0-9]{{1,4}})?(?:[/?]{_PATH})?(?:#{_PATH})?", re.IGNORECASE)
_DECIMAL = {"inputmode": "decimal"}


def _clock(text: str) -> None:
    """A time of day, whatever the number of digits behind the second."""
    hour, minute, second = (*map(float, text.split(":")), 0.0)[:3]
    if hour > 23 or minute > 59 or second >= 60:
        raise ValueError(text)


def _moment(text: str) -> None:
    date.fromisoformat(text[:10])
    _clock(text[11:])


FORMATS = {
    "number": Format(_NUMBER, attributes=_DECIMAL, read=float),
    "range": Format(_NUMBER, attributes=_DECIMAL, read=float),
    "date": Format(re.compile(_DATE), _date, date.fromisoformat),
    "time": Format(re.compile(_TIME), _time, _clock),
    "datetime-local": Format(re.compile(f"{_DATE}[T ]{_TIME}"), _date_and_time, _moment),
    "month": Format(re.compile("[0-9]{4}-[0-9]{2}"), _month, _read_month),
    "week": Format(re.compile("[0-9]{4}-W[0-9]{2}"), _week, _read_week),
    "color": Format(re.compile("#[0-9a-fA-F]{6}")),
    "email": Format(_ADDRESS, attributes={"inputmode": "email"}),
    "url": Format(_URL, attributes={"inputmode": "url"}),
}
"""By type; the others hold any line of text."""

TYPED_ONLY = frozenset(["alpha", "colorspace", "max", "min", "multiple", "step"])
"""Attributes that a line of text has not."""
