#!/bin/bash
# Print the path of the interpreter to build with; on standard error, in one line, why that one.
#
#   find-python.sh [--complete] [CANDIDATE…]      default candidates: python3 on PATH, Debian's, then newer ones by name
#
# --complete prints nothing: exit 0 where one has all that is wanted, 1 where not.
#
# The first that is at least 3.11, can make virtual environments, has headers to compile against and, for root, can be
# executed by other users (back ends run as users of their own). Where none has it all, the one that lacks least; exit 1
# where none is new enough.
set -euo pipefail

# What an interpreter lacks, one word each, nothing where it has it all. Exit 1: not usable at all.
read -r -d '' PROBE <<'PYTHON' || true
import os, sys
if sys.version_info < (3, 11):
    sys.exit(1)
import sysconfig
from pathlib import Path

def open_to_all(path):
    path = Path(path).resolve()
    bits = 0o5 if path.is_dir() else 0o1
    return path.stat().st_mode & bits == bits and all(parent.stat().st_mode & 0o1 for parent in path.parents)

lacking = []
try:
    import ensurepip, venv
except ImportError:
    lacking.append("venv")
if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
    lacking.append("headers")
if os.getuid() == 0 and not (open_to_all(sys.executable) and open_to_all(sysconfig.get_paths()["stdlib"])):
    lacking.append("access-for-other-users")
print(os.path.realpath(sys.executable), sys.version.split()[0], *lacking)
PYTHON

complete=""
if [[ ${1:-} == --complete ]]; then complete=1; shift; fi
if (($# == 0)); then
    set -- python3 /usr/bin/python3 /usr/local/bin/python3 python3.13 python3.12 python3.11
fi

best="" best_lacking=99 passed_over=""
for candidate in "$@"; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    found=$("$path" -I -c "$PROBE" 2>/dev/null) || { passed_over+="; passed over $path: older than 3.11 or not running"; continue; }
    read -r executable version lacking <<<"$found"
    words=($lacking)
    if ((${#words[@]} < best_lacking)); then
        best="$executable" best_version="$version" best_words="$lacking" best_lacking=${#words[@]}
    fi
    ((${#words[@]} == 0)) && break
    passed_over+="; passed over $executable $version: lacks ${lacking// /, }"
done

if [[ $complete ]]; then exit $((best_lacking > 0)); fi
if [[ -z $best ]]; then
    echo "No Python 3.11 or newer found$passed_over. Install one (Debian 12 or newer: apt-get install python3), or name it: make PYTHON=/path/to/python3 …" >&2
    exit 1
fi
if [[ -n $best_words ]]; then
    echo "Python: $best $best_version; it lacks: ${best_words// /, } (no better one found)" >&2
else
    echo "Python: $best $best_version, the first with venv and headers that other users can execute${passed_over}" >&2
fi
echo "$best"
