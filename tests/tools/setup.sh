#!/bin/sh
# Sets up what the tests need beside Rust, below target/tools: a Python environment with an independent DKIM verifier, the
# mail servers that our mail must reach, Prometheus and Redis, unpacked from Debian's packages.
#
#   tests/tools/setup.sh            all of it
#   tests/tools/setup.sh PART...    of python, postfix, exim, prometheus, redis only these
#
# Needs Debian 12 or newer and a package index that pip can reach. Installs python3-venv if it is missing and nothing else;
# for that, and where apt has no package lists yet, it must be run by root. Safe to run again: what is there stays.
set -eu

root=$(cd "$(dirname "$0")/../.." && pwd)
tools="$root/target/tools"
log="$tools/setup.log"

# Runs a command; shows what it said only when it fails.
quietly() {
    "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        echo "tests/tools: failed: $*" >&2
        return 1
    }
}

setup_python() {
    requirements="$root/tests/tools/requirements.txt"
    venv="$tools/venv"
    if cmp -s "$requirements" "$venv/installed.txt"; then
        return
    fi
    echo "tests/tools: python"
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        quietly apt-get update -qq
        quietly env DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends python3-venv
    fi
    rm -rf "$venv"
    quietly python3 -m venv "$venv"
    quietly "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$venv/installed.txt"
}

# Downloads "$@" and what they depend on and this system has not got, into the folder $debs.
download() {
    rm -rf "$debs"
    mkdir -p "$debs"
    wanted="$*"
    for package in "$@"; do
        needed=$(apt-get install --print-uris --yes -qq --no-install-recommends -o Debug::NoLocking=1 "$package") || return
        # Lines of address, file, size and hash; a file is name_version_architecture.deb.
        for dependency in $(echo "$needed" | sed -n "s/^'[^']*' \([^_]*\)_.*/\1/p"); do
            case $(dpkg-query --show --showformat '${db:Status-Abbrev}' "$dependency" 2>/dev/null) in
            ii*) ;;
            *) wanted="$wanted $dependency" ;;
            esac
        done
    done
    (cd "$debs" && apt-get download -qq $wanted)
}

# unpack NAME PACKAGE...: unpacks Debian packages below target/tools/NAME. They are not installed: servers that cannot be
# installed beside each other can be unpacked so, and no daemon starts.
unpack() {
    name=$1
    shift
    place="$tools/$name"
    if [ "$(cat "$place/unpacked.txt" 2>/dev/null)" = "$*" ]; then
        return
    fi
    echo "tests/tools: $name"
    command -v apt-get >/dev/null || {
        echo "tests/tools: $name comes from Debian's packages and there is no apt-get here" >&2
        return 1
    }
    debs="$tools/$name.debs"
    # The first try fails where package lists are missing or old.
    if ! download "$@" >"$log" 2>&1; then
        quietly apt-get update -qq
        quietly download "$@"
    fi
    rm -rf "$place"
    mkdir -p "$place"
    for deb in "$debs"/*.deb; do
        quietly dpkg --extract "$deb" "$place"
    done
    rm -rf "$debs"
    echo "$*" >"$place/unpacked.txt"
}

# Also brings smtp-sink and smtp-source.
setup_postfix() {
    unpack postfix postfix
}

# Exim insists on the account of its package; the wrapper shows it one without touching this system's.
setup_exim() {
    unpack exim exim4-daemon-light libnss-wrapper
    # It must not be anybody else than who starts it.
    chmod u-s "$tools/exim/usr/sbin/exim4"
}

# Also brings promtool. Its pages for browsers are large and nobody looks at them.
setup_prometheus() {
    unpack prometheus prometheus
    rm -rf "$tools/prometheus/usr/share"
}

# The server is a program of redis-tools; redis-server holds its configuration and the link to it.
setup_redis() {
    unpack redis redis-server redis-tools
}

mkdir -p "$tools"
for part in ${*:-python postfix exim prometheus redis}; do
    "setup_$part"
done
rm -f "$log"
echo "tests/tools: ready"
