#!/bin/bash
# Fuzz fastcore and what the framework reads from outside, both twins beside each other.
#
#   fuzz.sh VENV SECONDS [TARGET…]     libFuzzer on each target for its share of the time, then the property tests with new seeds
#   fuzz.sh VENV replay FILE…          run inputs (tests/fuzz/crashes/TARGET-…) in the instrumented program
#   fuzz.sh VENV keep                  add the inputs found so far that reach something new to tests/fuzz/corpus
#
# The targets are functions of tests/support/fuzz_targets.py. The instrumented modules (clang: coverage, AddressSanitizer,
# UndefinedBehaviorSanitizer) and all that a run finds lie in build/fuzz; what is kept lies in tests/fuzz. Without clang, or
# without a libpython to embed, only the property tests run, and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 command=$2
shift 2
work=build/fuzz
declare -A shares=([connection]=5 [params]=2 [answer]=2 [router]=2 [client]=2 [forms]=1 [site]=1)
order=(connection params answer router client forms site)

config() { "$venv/bin/python" -c "import sys, sysconfig; print($1)"; }
instrument() {
    local wanted library
    if ! command -v clang >/dev/null; then echo "no clang (Debian: clang libclang-rt-14-dev)"; return 1; fi
    library=$(config 'sysconfig.get_config_var("LIBDIR") + "/" + sysconfig.get_config_var("LDLIBRARY")')
    if [[ $library != *.so || ! -e $library ]]; then echo "this Python has no libpython to embed ($library)"; return 1; fi
    wanted=$({ find fastcore framework -name '*.p*' ! -name '*.pyc' -type f -print0 | sort -z | xargs -0 cat; cat setup.py tests/fuzz/libfuzzer.c
        config sys.version; } | sha256sum)
    [[ -x $work/fuzzer && -f $work/stamp && $(<"$work/stamp") == "$wanted" ]] && return 0
    echo "==> compiling with coverage and sanitizers" >&2
    # From a copy: both twins are of the same moment, whatever is edited meanwhile.
    mkdir -p "$work/source"
    rm -rf "$work/stamp" "$work/lib" "$work"/source/{fastcore,framework}
    cp -rp setup.py pyproject.toml README.md LICENSE fastcore framework "$work/source"
    find "$work/source/fastcore" -name '*.so' -delete
    if ! { (cd "$work/source" && CC=clang FASTCORE_FUZZ=1 FASTCORE_REQUIRE_COMPILED=1 "$OLDPWD/$venv/bin/python" setup.py -q \
            build_py --build-lib ../lib build_ext --parallel "$(nproc)" --build-temp ../objects --build-lib ../lib) &&
        clang -O1 -g -Wall -Wextra -fsanitize=fuzzer,address,undefined -rdynamic -I"$(config 'sysconfig.get_paths()["include"]')" \
            -o "$work/fuzzer" tests/fuzz/libfuzzer.c "$library" -Wl,-rpath,"$(dirname "$library")" -ldl -lm; } >"$work/build.log" 2>&1; then
        tail -n 20 "$work/build.log" >&2
        exit 1
    fi
    echo "$wanted" >"$work/stamp"
}
fuzzer() {                                            # TARGET [libFuzzer options] FOLDER-OR-FILE…
    local target=$1
    shift
    FUZZ_TARGET=$target FUZZ_PYTHON=$PWD/$venv/bin/python PYTHONPATH=$PWD/$work/lib:$PWD/tests/support PYTHONSAFEPATH=1 \
        PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 FASTCORE_REQUIRE_COMPILED=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
        ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=32 \
        "$work/fuzzer" -detect_leaks=0 -timeout=60 -report_slow_units=60 -rss_limit_mb=4096 -max_len=4096 "$@"
}

if reason=$(instrument); then instrumented=1; else instrumented=""; fi
case $command in
    replay)
        for file in "$@"; do
            name=${file##*/}
            if [[ $instrumented ]]; then fuzzer "${name%%-*}" "$file"; else "$venv/bin/python" tests/support/fuzz_corpus.py check "$file"; fi
        done
        exit 0
        ;;
    keep)
        for target in "${order[@]}"; do
            rm -rf "$work/kept/$target" && mkdir -p "$work/kept"
            "$venv/bin/python" tests/support/fuzz_corpus.py unpack "$work/kept"
            fuzzer "$target" -merge=1 -max_len=400 "$work/kept/$target" "$work/corpus/$target" >"$work/merge.log" 2>&1
            find "$work/kept/$target" -type f -exec "$venv/bin/python" tests/support/fuzz_corpus.py add "$target" {} +
        done
        du -cb tests/fuzz/corpus/*
        exit 0
        ;;
esac

limit=$command
targets=("$@")
((${#targets[@]})) || targets=("${order[@]}")
found=()
if [[ $instrumented ]]; then
    total=0
    for target in "${targets[@]}"; do total=$((total + ${shares[$target]})); done
    mkdir -p "$work/log" tests/fuzz/crashes
    "$venv/bin/python" tests/support/fuzz_corpus.py unpack "$work/corpus"
    echo "fuzz: libFuzzer with coverage of the compiled modules and of Python, AddressSanitizer and UndefinedBehaviorSanitizer"
    for target in "${targets[@]}"; do
        seconds=$((limit * 4 * ${shares[$target]} / (5 * total)))
        printf '  %-11s %4d s … ' "$target" "$seconds"
        log=$work/log/$target
        if fuzzer "$target" -max_total_time="$((seconds > 1 ? seconds : 1))" -artifact_prefix="tests/fuzz/crashes/$target-" \
            "$work/corpus/$target" >"$log" 2>&1; then result="nothing found"; else result="FOUND SOMETHING"; found+=("$target"); fi
        echo "$(sed -n 's/^#\([0-9]*\)\t.* cov: \([0-9]*\) ft: \([0-9]*\) corp: \([0-9]*\).*/\1 runs, coverage \2, features \3, \4 inputs/p' "$log" | tail -n 1): $result"
        if [[ $result != nothing* ]]; then grep -m 1 -B 12 -A 6 -E 'Error|ERROR' "$log" | cut -c 1-2000 || tail -n 30 "$log"; fi
    done
else
    echo "fuzz: $reason; only the property tests run"
fi

rounds=0
start=$SECONDS
if ((${#targets[@]} == ${#order[@]})); then
    seconds=$((instrumented ? limit / 5 : limit))
    echo "fuzz: the property tests with new seeds, $seconds s"
    while ((SECONDS - start < seconds)); do
        HYPOTHESIS_PROFILE=long timeout --foreground --signal=INT "$((seconds - (SECONDS - start)))" \
            "$venv/bin/python" -m pytest -q --no-header -x -m hypothesis --timeout=0 --hypothesis-seed="$RANDOM$RANDOM" \
            tests/twins tests/unit tests/fuzz >"$work.log" 2>&1 && status=0 || status=$?
        if ((status == 124)); then break; fi                    # time is up in the midst of a round
        if ((status)); then tail -n 60 "$work.log"; found+=("the property tests"); break; fi
        rounds=$((rounds + 1))
    done
    echo "  $rounds full rounds"
fi
if ((${#found[@]})); then
    echo "fuzz: FOUND SOMETHING in: ${found[*]}"
    echo "  the inputs lie in tests/fuzz/crashes; again: scripts/fuzz.sh $venv replay tests/fuzz/crashes/FILE"
    echo "  by both twins as they are: $venv/bin/python tests/support/fuzz_corpus.py check tests/fuzz/crashes/FILE"
    exit 1
fi
echo "fuzz: $SECONDS seconds, nothing found"
