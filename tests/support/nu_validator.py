"""The Nu HTML checker (vnu.jar of the npm package vnu-jar): is a page valid as HTML, and as XHTML?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from npm_package import installed

PACKAGE = "vnu-jar@26"


def jar() -> Path:
    """The checker: where NU_VALIDATOR_JAR says, else in the project's own folder for tools. Skips without Java."""
    if shutil.which("java") is None:
        pytest.skip("needs java")
    given = os.environ.get("NU_VALIDATOR_JAR")
    if given:
        return Path(given)
    return installed("node", PACKAGE, "vnu-jar/build/dist/vnu.jar")


def problems(pages: Mapping[str, bytes], directory: Path, form: str) -> list[str]:
    """What the checker finds in pages (name → bytes). form: `html` or `xml`."""
    suffix = {"html": ".html", "xml": ".xhtml"}[form]
    paths = []
    for name, data in pages.items():
        path = directory / f"{name}{suffix}"
        path.write_bytes(data)
        paths.append(str(path))
    command = [
        "java",
        "-Xss8m",
        "-XX:-UsePerfData",
        "-jar",
        str(jar()),
        "--format",
        "json",
        "--exit-zero-always",
        "--stdout",
        f"--{form}",
    ]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=300, check=True)
    messages = json.loads(done.stdout)["messages"]
    return [
        f"{Path(message.get('url', '?')).name}: {message['message']} …{message.get('extract', '')!r}…"
        for message in messages
        if message["type"] != "info"
    ]
