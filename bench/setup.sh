#!/bin/sh
# Fetches Debian's smtp-sink, the neutral receiver of W1, into target/tools. Installs nothing and starts no daemon.
set -eu
cd "$(dirname "$0")/.."
tools=target/tools
if [ -x "$tools/postfix/usr/sbin/smtp-sink" ] || [ -x /usr/sbin/smtp-sink ]; then
    exit 0
fi
mkdir -p "$tools"
(cd "$tools" && apt-get download -q postfix && dpkg -x postfix_*.deb postfix && rm postfix_*.deb)
# Libraries that it needs and that are not part of the package.
apt-get install -q -y --no-install-recommends libicu72 libdb5.3 libnsl2 2>/dev/null || true
