#!/bin/sh
# The worker: one jq for the whole life of the plugin, so that a call costs no new process.
#
# `-R` hands over lines as they are: a line that is no JSON gets an answer instead of ending jq.
# `--unbuffered` sends each answer at once; without it the host would wait for a full buffer.
set -eu

if ! command -v jq >/dev/null; then
    echo "guard-shell needs jq, version 1.6 or newer" >&2
    exit 127
fi
exec jq -n -R -c --unbuffered --slurpfile rules rules.json -f guard.jq
