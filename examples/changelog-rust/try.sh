#!/bin/sh
# Three lines to the plugin, three lines back: what the host and the plugin say to each other.
set -eu
cd "$(dirname "$0")"

bin/changelog-rust <<'LINES'
{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"contract":{"version":1,"features":["cancel"]},"host":{"name":"by-hand","version":"0"},"plugin":"changelog-rust","context":{},"grants":[],"limits":{"frame_bytes":1048576,"depth":64}}}
{"jsonrpc":"2.0","id":2,"method":"call","params":{"kind":"tool","name":"draft_changelog","payload":{"version":"1.2.0","commits":["feat(cli): read stdin","chore: tidy"]},"timeout_ms":1000,"deadline_unix_ms":0}}
{"jsonrpc":"2.0","id":3,"method":"shutdown"}
LINES
