"""`python -m fastcore.flup SCRIPT [ARGUMENT…]`: run a script written for flup; its `import flup…` finds fastcore."""

from __future__ import annotations

import os
import runpy
import sys

from fastcore.flup import install


def main() -> int:
    """Run the script of the command line as `__main__`; what it raises or exits with is the outcome. 2 for usage."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print("usage: python -m fastcore.flup SCRIPT [ARGUMENT…]", file=sys.stderr)
        return 2
    script = sys.argv[1]
    if not os.path.exists(script):
        print(f"python -m fastcore.flup: there is no file {script}", file=sys.stderr)
        return 2
    install()
    del sys.argv[0]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    runpy.run_path(script, run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(main())
