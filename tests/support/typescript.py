"""The TypeScript compiler (npm package typescript): does a page's code fit the declarations?"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from npm_package import installed

PACKAGE = "typescript@5"


def compiler() -> Path:
    """The compiler in the project's own folder for tools, fetched by npm where it is not there."""
    if shutil.which("node") is None:
        pytest.skip("needs npm")
    return installed("typescript", PACKAGE, "typescript/bin/tsc")


def errors(folder: Path, declarations: str, script: str) -> list[str]:
    """What `tsc --strict` says of a script that imports "./proxy.mjs"."""
    (folder / "proxy.d.mts").write_text(declarations)
    (folder / "page.mts").write_text(script)
    command = ["node", str(compiler()), "--strict", "--noEmit", "--pretty", "false"]
    command += ["--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,dom.iterable", "page.mts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    return done.stdout.splitlines()
