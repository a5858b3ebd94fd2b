#!/bin/sh
# Stands in for an agent: says who it is at its beginning and at its end, in the common file and as its
# answer. It fails now and then, by its own process id, and takes up to a second.
input=$(cat)
who="{\"id\":\"$KODEX_RUN_ID\",\"host\":$PPID,\"attempt\":$KODEX_RUN_ATTEMPT"
echo "$who,\"what\":\"begin\"}" >>"@SAID@"
echo "$who}"
sleep "0.$(($$ % 10))"
if [ "$KODEX_RUN_ATTEMPT" -lt 4 ] && [ "$(($$ % 4))" -eq 0 ]; then
    exit 75
fi
echo "$who,\"what\":\"end\"}" >>"@SAID@"
echo "$who}"
