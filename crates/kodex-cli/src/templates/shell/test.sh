#!/bin/sh
# Sends the plugin what Kodex would and compares its answers. Run it with `sh test.sh`.
set -eu
cd "$(dirname "$0")"

initialize='{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"contract":{"version":1,"features":[]},"plugin":"{{name}}"}}'
shutdown='{"jsonrpc":"2.0","id":9,"method":"shutdown","params":null}'
n_failed=0

check() { # what, request, expected answer
    got=$(printf '%s\n' "$initialize" "$2" "$shutdown" | sh plugin.sh | sed -n 2p)
    [ "$got" = "$3" ] && return
    n_failed=$((n_failed + 1))
    printf 'not ok: %s\n  got  %s\n  want %s\n' "$1" "$got" "$3"
}

check "its hook is answered" \
    '{"jsonrpc":"2.0","id":2,"method":"call","params":{"kind":"hook","name":"hook.name","payload":{"a":1}}}' \
    '{"jsonrpc":"2.0","id":2,"result":{"reply":{"plugin":"{{name}}","payload":{"a":1}}}}'
check "other hooks are not" \
    '{"jsonrpc":"2.0","id":2,"method":"call","params":{"kind":"hook","name":"other","payload":{}}}' \
    '{"jsonrpc":"2.0","id":2,"error":{"code":-32601,"message":"there is no hook other","data":{"code":"method.unknown"}}}'

[ "$n_failed" -eq 0 ] && echo "ok"
