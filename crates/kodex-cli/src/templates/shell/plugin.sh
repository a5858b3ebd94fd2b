#!/bin/sh
# The plugin's process: one jq for its whole life, so that a call starts no program.
# -R hands over lines as they are, --unbuffered sends every answer at once.
set -eu

if ! command -v jq >/dev/null; then
    echo "{{name}} needs jq 1.6 or newer" >&2
    exit 127
fi
exec jq -n -R -c --unbuffered -f plugin.jq
