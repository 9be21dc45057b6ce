"""Figures as a person reads them."""

from __future__ import annotations

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Bytes with three digits or so.

    >>> size(0), size(1536), size(16_000_000_000)
    ('0 B', '1.5 KiB', '14.9 GiB')
    """
    value = float(max(0, count))
    for unit in _BINARY:
        if value < 999.5 or unit == _BINARY[-1]:
            break
        value /= 1024
    digits = 0 if unit == "B" or value >= 99.95 else 1
    return f"{value:.{digits}f} {unit}"


def rate(count: float) -> str:
    """Bytes a second.

    >>> rate(2048)
    '2.0 KiB/s'
    """
    return f"{size(count)}/s"


def percent(value: float) -> str:
    """A share of a hundred, one digit below ten.

    >>> percent(3.14159), percent(42.7)
    ('3.1 %', '43 %')
    """
    return f"{value:.1f} %" if value < 9.95 else f"{value:.0f} %"


def duration(seconds: float) -> str:
    """The two largest units.

    >>> duration(59), duration(3600 * 26 + 60)
    ('59 s', '1 d 2 h')
    """
    left = int(max(0, seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 ")) or parts[0]


def degrees(celsius: float) -> str:
    """
    >>> degrees(41.25)
    '41 °C'
    """
    return f"{celsius:.0f} °C"
