#!/bin/bash
# Run every property test of fastcore again and again with new random seeds; the first finding ends it and says its seed.
#
#   fuzz.sh VENV SECONDS [pytest arguments]
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1 limit=$2
shift 2
paths=(tests/twins tests/unit)
rounds=0
while ((SECONDS < limit)); do
    HYPOTHESIS_PROFILE=long timeout --foreground --signal=INT "$((limit - SECONDS))" \
        "$venv/bin/python" -m pytest -q --no-header -x -m hypothesis --timeout=0 --hypothesis-seed="$RANDOM$RANDOM" "$@" "${paths[@]}" && status=0 || status=$?
    if ((status == 124)); then break; fi                        # time is up in the midst of a round
    if ((status)); then exit "$status"; fi
    rounds=$((rounds + 1))
done
echo "fuzz: $SECONDS seconds, $rounds full rounds, nothing found"
