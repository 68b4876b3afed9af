#!/bin/sh
# Makes sure there is a headless Chromium: the system's, else Debian's when root, else Playwright's.
set -eu
python=$1
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    if apt-get update -qq && apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core fonts-noto-color-emoji >/dev/null; then
        exit 0
    fi
fi
exec "$python" -m playwright install --with-deps chromium-headless-shell
