#!/bin/sh
# A new store: the journal is applied, a note is kept, found, and given to a prompt.
set -eu
cd "$(dirname "$0")"
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT

notes() {
    kodex --plugin-dir plugins --store "sqlite:$store" "$@"
}

notes upgrade
notes call notes/add_note --input '{"text": "Buy milk #shop"}'
notes call notes/find_notes --input '{"tag": "shop"}'
notes emit prompt.submit --payload '{"prompt": "Where do I get milk?", "session_id": "s"}'
