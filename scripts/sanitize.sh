#!/bin/bash
# Run the tests of fastcore with AddressSanitizer and UndefinedBehaviorSanitizer in the compiled modules.
#
#   sanitize.sh VENV BUILD_DIRECTORY [pytest arguments]
#
# The instrumented modules go into a directory of their own, so those in the checkout stay as they are. Python's allocator is
# replaced by malloc, or the sanitizer would not see its blocks. Leaks at exit are not reported: the interpreter keeps some.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 directory=$2
shift 2
if ! command -v gcc >/dev/null; then echo "make sanitize: no C compiler, nothing to check" >&2; exit 1; fi

runtimes=""
for library in libasan.so libubsan.so; do
    path=$(gcc -print-file-name="$library")
    if [[ $path != /* ]]; then echo "make sanitize: gcc has no $library (Debian: apt-get install libgcc-12-dev)" >&2; exit 1; fi
    runtimes+="${runtimes:+:}$(realpath "$path")"
done
echo "==> compiling with the sanitizers"
FASTCORE_SANITIZE=1 FASTCORE_REQUIRE_COMPILED=1 "$venv/bin/python" setup.py -q \
    build_py --build-lib "$directory" build_ext --parallel "$(nproc)" --build-temp build/sanitize --build-lib "$directory"

export LD_PRELOAD=$runtimes PYTHONMALLOC=malloc PYTHONPATH=$PWD/$directory PYTHONSAFEPATH=1 FASTCORE_REQUIRE_COMPILED=1
export ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
"$venv/bin/python" -c 'import sys, fastcore, fastcore.implementation as twins; sys.exit(0 if sys.argv[1] in twins.records.__file__ and twins.accelerated else "not the instrumented modules: " + twins.records.__file__)' "$directory"
# The servers of the conformance and fuzz tests are instrumented, too. What compares resident memory is left out: freed memory
# is held back on purpose here.
if (($# == 0)); then
    set -- -m twins tests/unit tests/twins tests/conformance tests/fuzz tests/live/test_server.py tests/live/test_server_hostile.py \
        tests/live/test_server_wsgi.py -k "not line_41 and not hhvm_1690"
fi
HYPOTHESIS_PROFILE=${HYPOTHESIS_PROFILE:-quick} exec "$venv/bin/python" -m pytest --timeout=600 "$@"
