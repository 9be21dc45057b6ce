"""The files that go with the builder: a style sheet and the module that redraws live charts.

They are served as they are, from `theme_path()` and `charts_path()`, by a static folder or by a handler.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent


def theme_path() -> Path:
    """Where the default style sheet lies."""
    return _HERE / "theme.css"


def charts_path() -> Path:
    """Where the ES module for live charts lies."""
    return _HERE / "charts.js"


@cache
def theme_css() -> str:
    """The default style sheet: light and dark, from a telephone to a screen on the wall, and on paper."""
    return theme_path().read_text(encoding="utf-8")


@cache
def charts_js() -> str:
    """The ES module for live charts: `import { update } from "/charts.js"; update(svg, [1, 2, 3])`."""
    return charts_path().read_text(encoding="utf-8")
