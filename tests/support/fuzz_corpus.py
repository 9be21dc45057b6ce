"""The kept inputs of the fuzz targets: tests/fuzz/corpus/TARGET.txt, a line `name: b'bytes'` each, sorted by name.

python tests/support/fuzz_corpus.py unpack FOLDER     a file each in FOLDER/TARGET, for libFuzzer
python tests/support/fuzz_corpus.py add TARGET FILE…  keep the inputs in these files
python tests/support/fuzz_corpus.py check FILE…       run inputs by themselves; a file is named TARGET-anything
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
CORPUS = FUZZ / "corpus"
CRASHES = FUZZ / "crashes"


def read(target: str) -> dict[str, bytes]:
    """The kept inputs of a target, by name."""
    path = CORPUS / f"{target}.txt"
    found = {}
    for line in path.read_text("ascii").splitlines() if path.exists() else ():
        name, _, text = line.partition(": ")
        found[name] = ast.literal_eval(text)
    return found


def write(target: str, inputs: dict[str, bytes]) -> None:
    CORPUS.mkdir(exist_ok=True)
    lines = [f"{name}: {inputs[name]!r}\n" for name in sorted(inputs)]
    (CORPUS / f"{target}.txt").write_text("".join(lines), "ascii")


def add(target: str, inputs: Iterable[bytes], prefix: str = "found") -> None:
    """Keep inputs that are not kept yet, named by what they are."""
    kept = read(target)
    known = set(kept.values())
    for data in inputs:
        if data not in known:
            kept[f"{prefix}-{hashlib.sha1(data).hexdigest()[:12]}"] = data
    write(target, kept)


def unpack(folder: Path, targets: Iterable[str]) -> None:
    """Write every input into a file of its own."""
    for target in targets:
        (folder / target).mkdir(parents=True, exist_ok=True)
        for name, data in read(target).items():
            (folder / target / name).write_bytes(data)


def main(command: str, *arguments: str) -> int:
    import fuzz_targets

    if command == "unpack":
        unpack(Path(arguments[0]), fuzz_targets.TARGETS)
    elif command == "add":
        add(arguments[0], [Path(name).read_bytes() for name in arguments[1:]])
    elif command == "check":
        for name in arguments:
            fuzz_targets.check(Path(name).name.partition("-")[0], Path(name).read_bytes())
            print(f"{name}: nothing found")
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:] or ["help"]))
