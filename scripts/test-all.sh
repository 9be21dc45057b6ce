#!/bin/bash
# Run the tests on every supported Python of this machine, each in an environment of its own (.venv-3.12 …).
#
#   test-all.sh MAKE [pytest arguments]
set -uo pipefail
cd "$(dirname "$0")/.."
make=$1
shift

newest() {                                                      # VERSION: its interpreter, on PATH or of pyenv, nothing where absent
    local candidate
    for candidate in "/usr/bin/python$1" "/usr/local/bin/python$1" "python$1" $(ls -d ~/.pyenv/versions/"$1".*/bin/python 2>/dev/null | sort -Vr); do
        if "$candidate" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
}

results=() failed=0
for version in 3.11 3.12 3.13; do
    python=$(newest "$version")
    if [[ ! $python ]]; then results+=("Python $version: not on this machine"); continue; fi
    echo "==> Python $version ($python)"
    if "$make" --no-print-directory test PYTHON="$python" VENV=".venv-$version" PYTEST_ARGS="$*"; then
        results+=("Python $version: passed")
    else
        results+=("Python $version: FAILED") failed=1
    fi
done
printf '%s\n' "${results[@]}"
exit $failed
