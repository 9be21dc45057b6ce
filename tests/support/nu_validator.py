"""The Nu HTML checker (vnu.jar of the npm package vnu-jar): is a page valid as HTML, and as XHTML?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from npm_package import installed

PACKAGE = "vnu-jar@26"
ADVICE = ("Source text is not in Unicode Normalization Form C.",)
"""What neither standard asks for: a builder of pages writes the text that it was given."""
WRONGLY_TOLD = "Unmatched low surrogate."
"""What the checker's XML parser (26.9) says of two characters beyond U+FFFF, one behind the other, in an attribute; it
reads no further. Such a page has to be given to another XML parser."""

SUFFIXES = {"html": ".html", "xml": ".xhtml"}


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
    paths = []
    for name, data in pages.items():
        path = directory / f"{name}.html"
        path.write_bytes(data)
        paths.append(path)
    return [f"{path.name}: {message}" for path, message in messages(paths, form)]


def messages(paths: Sequence[Path], form: str) -> list[tuple[Path, str]]:
    """What the checker finds in files, all of them in one run: (file, message). form: `html` or `xml`."""
    options = ["--format", "json", "--exit-zero-always", "--stdout", f"--{form}"]
    command = ["java", "-Xss8m", "-XX:-UsePerfData", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-jar", str(jar())]
    with tempfile.TemporaryDirectory() as folder:
        # The checker goes by the name in part.
        named = {f"{number}{SUFFIXES[form]}": path.resolve() for number, path in enumerate(paths)}
        for name, path in named.items():
            (Path(folder) / name).symlink_to(path)
        environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # make sanitize
        done = subprocess.run(
            [*command, *options, *named], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
    if done.returncode:
        raise RuntimeError(f"the checker failed: {done.stderr or done.stdout}")
    told = json.loads(done.stdout)["messages"]
    found = [message for message in told if message["type"] != "info" and message["message"] not in ADVICE]
    broken = {message["url"] for message in found if message["message"] == WRONGLY_TOLD}
    return [
        (named[Path(message["url"]).name], f"{message['message']} …{message.get('extract', '')!r}…")
        for message in found
        if message["url"] not in broken
    ]
