#!/usr/bin/env bash
# Sets up what the tests need and runs everything: format, clippy, a binary without failpoints, a bench smoke, kills under
# load, a test that fails for each deliberate bug, all tests.
# This is the README's test command, and all that .ci/run does.
#
#   ./test.sh            everything, in this order: setup format clippy failpoints smoke chaos sabotage tests
#   ./test.sh STEP...    only these steps
#
# The first step that fails ends the run and is named. The tests come last, so that the last lines are their own summary.
#
# Needs Rust, and Debian for the mail servers that the tests deliver to: root, or sudo without a password, only where a
# package of Debian is missing. Everything else is put into target/. With cargo-nextest each test is a process of its own
# and one that hangs is ended after two minutes; without it the same tests run under `cargo test`.
set -euo pipefail
cd "$(dirname "$0")"

export CARGO_TERM_PROGRESS_WHEN="${CARGO_TERM_PROGRESS_WHEN:-never}"

as_root() {
    if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

setup() {
    if ! command -v cargo >/dev/null; then
        echo "cargo is not there: install Rust from https://rustup.rs" >&2
        return 1
    fi
    if ! cargo fmt --version >/dev/null || ! cargo clippy --version >/dev/null; then
        rustup component add rustfmt clippy
    fi
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    if ((${#missing[@]})); then
        echo "installing ${missing[*]}"
        as_root apt-get -qq update
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}"
    fi
    tests/tools/setup.sh
}

format() {
    cargo fmt --all --check
}

clippy() {
    cargo clippy --workspace --all-targets --features failpoints -- -D warnings
}

# A failpoint or a deliberate bug in a shipped binary would let its environment stop or change it. A binary that has them
# holds their names. Only names with a hyphen are looked for, since a word alone may be there for other reasons.
failpoints() {
    local names found
    local points bugs
    points=$(grep -rhoE 'fail_point!\("[a-z]+-[a-z-]+"' src | cut -d'"' -f2)
    bugs=$(grep -oE '= "[a-z0-9]+-[a-z0-9-]+",$' src/sabotage.rs | cut -d'"' -f2)
    if [[ -z $points || -z $bugs ]]; then
        echo "no failpoint or no bug in src has a name with a hyphen: the search is wrong" >&2
        return 1
    fi
    names=$(sort -u <<<"$points"$'\n'"$bugs")
    # First a binary that has them: if they cannot be seen there, not seeing them proves nothing.
    cargo build --quiet --features failpoints
    found=$(failpoints_in target/debug/posthaste "$names")
    if [[ $found != "$names" ]]; then
        echo "the binary with the feature shows only: $found" >&2
        return 1
    fi
    cargo build --quiet
    found=$(failpoints_in target/debug/posthaste "$names")
    if [[ -n $found ]]; then
        echo "the binary that ships has failpoints or bugs: $found" >&2
        return 1
    fi
    echo "none in the binary that ships; all $(wc -l <<<"$names") in one with the feature"
}

# Those of the names $2 that are in the binary $1.
failpoints_in() {
    local name
    while read -r name; do
        if grep --quiet --text --fixed-strings -e "$name" "$1"; then echo "$name"; fi
    done <<<"$2"
}

# Mail through a running engine into a receiver: that everything arrives, not how fast.
smoke() {
    cargo build --quiet --bin posthaste
    cargo run --quiet --package bench -- w1 --smoke
    cargo run --quiet --package bench -- isolation --smoke
    cargo run --quiet --package bench -- flood --smoke
    cargo run --quiet --package bench -- lanes --smoke
}

# Everything is killed, frozen and filled while mail flows, and every copy counted. Each run draws its own plan; its first
# line says the seed, with which `bench chaos --seed` plays the same plan again. A run mostly waits, so both go at once.
chaos() {
    local store runs=() code=0
    cargo build --quiet --package bench
    for store in embedded redis; do
        { cargo run --quiet --package bench -- chaos --store "$store" --kills 30 --json 2>&1 | sed --unbuffered "s/^/$store: /"; } &
        runs+=($!)
    done
    for store in "${runs[@]}"; do
        wait "$store" || code=$?
    done
    return "$code"
}

# Each deliberate bug is caught by the test that tests/sabotage.tsv names.
sabotage() {
    tests/sabotage.sh
}

tests() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --features failpoints
    else
        echo "cargo-nextest is not installed: the same tests under cargo test"
        cargo test --workspace --all-targets --features failpoints --no-fail-fast
    fi
}

step=none
ended() {
    local code=$?
    # The tests' own summary is the last word on them.
    if ((code != 0)) && [[ $step != tests ]]; then
        echo "test.sh: step \"$step\" failed with exit code $code" >&2
    fi
}
trap ended EXIT

if (($# == 0)); then
    set -- setup format clippy failpoints smoke chaos sabotage tests
fi
for step in "$@"; do
    case $step in
        setup | format | clippy | failpoints | smoke | chaos | sabotage | tests) ;;
        *)
            echo "test.sh: there is no step \"$step\"; read the head of this file" >&2
            trap - EXIT
            exit 2
            ;;
    esac
    echo "== $step (after ${SECONDS} s)"
    "$step"
done
