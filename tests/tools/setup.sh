#!/bin/sh
# Sets up what the tests need beside Rust, in target/tools: a Python environment with an independent DKIM verifier, and
# Prometheus with promtool. Needs python3 with venv (Debian: python3-venv), a package index that pip can reach, and a
# Debian package archive, unless prometheus is installed already. Starts nothing. Safe to run again.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
tools="$root/target/tools"
requirements="$root/tests/tools/requirements.txt"

python() {
    venv="$tools/venv"
    cmp -s "$requirements" "$venv/installed.txt" && return
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/installed.txt"
}

# Unpacked rather than installed: an installed package would start a daemon.
prometheus() {
    bin="$tools/prometheus"
    [ -x "$bin/prometheus" ] && [ -x "$bin/promtool" ] && return
    work=$(mktemp -d)
    if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
        cp "$(command -v prometheus)" "$(command -v promtool)" "$work"
    else
        (cd "$work" && { apt-get -qq -o APT::Sandbox::User=root download prometheus || { apt-get -qq update && apt-get -qq -o APT::Sandbox::User=root download prometheus; }; })
        dpkg-deb --extract "$work"/prometheus_*.deb "$work/unpacked"
        mv "$work/unpacked/usr/bin/prometheus" "$work/unpacked/usr/bin/promtool" "$work"
    fi
    mkdir -p "$bin"
    mv "$work/prometheus" "$work/promtool" "$bin"
    rm -rf "$work"
}

mkdir -p "$tools"
python
prometheus
echo "tests/tools: ready"
