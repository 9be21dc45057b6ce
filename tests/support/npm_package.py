"""Packages of npm that tests use as tools, in the project's own folder for tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / ".make"


def installed(folder: str, package: str, file: str) -> Path:
    """`file` of a package below TOOLS/`folder`/node_modules; fetched by npm where it is not there, else it skips."""
    home = TOOLS / folder
    found = home / "node_modules" / file
    if not found.exists():
        if shutil.which("npm") is None:
            pytest.skip("needs npm")
        home.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home)]
        try:
            subprocess.run([*command, package], check=True, capture_output=True, timeout=300, text=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = error.stderr if isinstance(error.stderr, str) else ""
            pytest.skip(f"npm did not fetch {package}: {said.strip()[-300:] or error}")
    return found
