#!/usr/bin/env bash
# Proves that the tests can fail: each deliberate bug of src/sabotage.rs is caught by the test that tests/sabotage.tsv names.
#
#   tests/sabotage.sh              every line of the table
#   tests/sabotage.sh NAME...      only the lines of these bugs
#   tests/sabotage.sh --table      writes tests/SABOTAGE.md from the table, after all lines held
#
# Each test runs by its exact name: once without any bug, where it must pass, and with each bug, where it must fail, by an
# assertion. A name that no test has, a test that hangs and a bug that is unknown are errors of the table. Ends with 1 when
# one survives.
set -euo pipefail
cd "$(dirname "$0")/.."

# A test that takes longer hangs. The slowest wait 40 s for a condition that the bug makes impossible.
limit=${SABOTAGE_LIMIT_SECONDS:-120}
write_table=
if [[ ${1:-} == --table ]]; then
    write_table=yes
    shift
fi

# Builds once; the binaries are run directly.
built=$(cargo test --no-run --package posthaste --features failpoints --lib --test it 2>&1) || {
    echo "$built" >&2
    exit 1
}
binary_of() {
    sed -nE "s#^ *Executable .*$1 \((.*)\)\$#\1#p" <<<"$built"
}
declare -A binaries=([lib]=$(binary_of src/lib.rs) [it]=$(binary_of tests/it/main.rs))
for name in lib it; do
    if [[ ! -x ${binaries[$name]} ]]; then
        echo "the test binary \"$name\" was not found in what cargo said:" >&2
        echo "$built" >&2
        exit 1
    fi
done
output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Runs the test $2 of the binary $1 with the bug $3; prints "passed", "caught" or what went wrong with the run itself.
# An engine that goes down with its test may abort before the summary: the assertion is on the screen all the same.
run() {
    local code=0
    RUST_BACKTRACE=0 POSTHASTE_SABOTAGE=$3 timeout "$limit" "${binaries[$1]}" --exact "$2" --nocapture >"$output" 2>&1 || code=$?
    if ((code == 124)); then
        echo "hangs"
    elif grep --quiet "there is no bug" "$output"; then
        echo "unknown bug"
    elif grep --quiet "running 0 tests" "$output"; then
        echo "there is no such test"
    elif ((code == 0)) && grep --quiet "^test result: ok. 1 passed" "$output"; then
        echo "passed"
    elif ((code != 0)) && grep --quiet "^thread '$2'.* panicked at " "$output"; then
        echo "caught"
    else
        echo "ended with $code"
    fi
}

total=$(grep --count --invert-match '^#' tests/sabotage.tsv)
number=0 ran=0 survived=0
# What each test said without a bug; many lines share one.
declare -A clean=()
while IFS=$'\t' read -r bug binary test _; do
    number=$((number + 1))
    if (($#)) && [[ " $* " != *" $bug "* ]]; then continue; fi
    ran=$((ran + 1))
    began=$SECONDS
    if [[ -z ${clean["$binary $test"]:-} ]]; then clean["$binary $test"]=$(run "$binary" "$test" ""); fi
    without=${clean["$binary $test"]}
    with="not run"
    if [[ $without == passed ]]; then with=$(run "$binary" "$test" "$bug"); fi
    printf '%2d/%d  %-26s %-10s %3d s  %s\n' "$number" "$total" "$bug" "${with/passed/SURVIVES}" "$((SECONDS - began))" "$test"
    if [[ $without != passed || $with != caught ]]; then
        survived=$((survived + 1))
        echo "without the bug: $without; with it: $with" >&2
        tail -n 30 "$output" >&2
    fi
done < <(grep --invert-match '^#' tests/sabotage.tsv)

if ((ran == 0)); then
    echo "no line of tests/sabotage.tsv is about: $*" >&2
    exit 1
fi
if ((survived)); then
    echo "$survived of $ran are not caught" >&2
    exit 1
fi
echo "all $ran are caught"

if [[ -n $write_table ]] && (($# == 0)); then
    {
        echo "# Deliberate bugs, and the tests that catch them"
        echo
        echo "Written by \`tests/sabotage.sh --table\` from \`tests/sabotage.tsv\`, after each test had passed without its bug and"
        echo "failed with it. \`./test.sh sabotage\` does the same; \`src/sabotage.rs\` says what each bug does."
        echo
        echo "| bug | caught by | because |"
        echo "|---|---|---|"
        grep --invert-match '^#' tests/sabotage.tsv | awk -F'\t' '{ printf "| `%s` | `%s` (%s) | %s |\n", $1, $3, $2, $4 }'
    } >tests/SABOTAGE.md
    echo "wrote tests/SABOTAGE.md"
fi
