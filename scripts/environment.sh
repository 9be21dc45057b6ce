#!/bin/bash
# Make or complete a virtual environment with this checkout in it, editable.
#
#   environment.sh DIRECTORY EXTRA      EXTRA: an extra of pyproject.toml (dev, test, bench)
#
# PYTHON chooses the interpreter of a new environment. An environment that works is kept and added to; one whose interpreter
# is gone is made anew. Quick when all is there: stamps in the environment carry checksums of what they depend on.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 extra=$2

mkdir -p .make
exec 9>".make/lock-${venv//\//_}"
flock 9                                                          # two makes at once: the second finds all done

works() { [[ -x $venv/bin/python ]] && "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
stamped() { [[ -f $venv/.stamp-$1 && $(<"$venv/.stamp-$1") == "$2" ]]; }
stamp() { echo "$2" >"$venv/.stamp-$1"; }

if ! works; then
    if [[ ${PYTHON:-} ]]; then candidates=("$PYTHON"); else candidates=(); fi
    python=$(scripts/find-python.sh "${candidates[@]}") || exit 1
    echo "==> making the virtual environment $venv"
    rm -rf -- "$venv"
    "$python" -m venv "$venv"
fi

# The project itself is installed without its extensions; they are built in place below, where a change is noticed.
wanted=$(sha256sum <pyproject.toml)
covered=""
case $extra in dev) covers="dev test bench" ;; test) covers="test bench" ;; *) covers=$extra ;; esac    # what includes it
for more in $covers; do stamped "installed-$more" "$wanted" && covered=1; done
if [[ ! $covered ]]; then
    echo "==> installing into $venv: fastcore-fcgi[$extra] and what its build needs"
    "$venv/bin/python" -m pip install -qq --disable-pip-version-check --upgrade 'setuptools>=77' 'Cython>=3.1'
    FASTCORE_NO_EXTENSIONS=1 "$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-build-isolation \
        --config-settings editable_mode=compat --editable ".[$extra]"
    stamp "installed-$extra" "$wanted"
fi

# Made anew when a source, a header, a switch or the compiler's presence has changed.
shopt -s nullglob
modules=(fastcore/compiled/*.pyx framework/xhtml/compiled/*.pyx)
sources=(setup.py "${modules[@]}" fastcore/compiled/*.pxd)
wanted=$(cat "${sources[@]}" | sha256sum)
suffix=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
complete=1
for source in "${modules[@]}"; do [[ -f ${source%.pyx}$suffix ]] || complete=""; done
if [[ ! $complete ]] || ! stamped built "$wanted"; then
    echo "==> compiling the extension modules"
    log=.make/build.log
    # Where a compiler and headers are, a failure is a mistake in the sources, not something to do without.
    headers=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
    force=() flags=$(sha256sum <setup.py)                        # other flags: what is there is no newer than its source
    stamped flags "$flags" || force=(--force)
    required=0
    if command -v gcc >/dev/null && [[ -f $headers/Python.h ]]; then required=1; fi
    if FASTCORE_REQUIRE_COMPILED=$required "$venv/bin/python" setup.py -q build_ext --inplace --parallel 2 "${force[@]}" >"$log" 2>&1; then
        sed -n '/^WARNING: fastcore/,$p' "$log" >&2
        complete=1
        for source in "${modules[@]}"; do [[ -f ${source%.pyx}$suffix ]] || complete=""; done
        if [[ $complete ]]; then stamp built "$wanted" && stamp flags "$flags"; fi
    else
        tail -n 60 "$log" >&2
        exit 1
    fi
fi
