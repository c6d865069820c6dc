#!/bin/sh
# Sets up what the tests need beside Rust: a Python environment in target/tools/venv with an independent DKIM verifier.
# Needs python3 with venv (Debian: python3-venv) and a package index that pip can reach. Safe to run again.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
requirements="$root/tests/tools/requirements.txt"
venv="$root/target/tools/venv"

if cmp -s "$requirements" "$venv/installed.txt"; then
    echo "tests/tools: up to date"
    exit 0
fi
rm -rf "$venv"
python3 -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
cp "$requirements" "$venv/installed.txt"
echo "tests/tools: ready"
