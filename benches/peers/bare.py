"""The least that a worker in Python can be: lines of JSON in, lines of JSON out."""

import json
import sys

read, write = sys.stdin.buffer, sys.stdout.buffer
for line in read:
    message = json.loads(line)
    reply = {"decision": "approve", "tool": message["params"]["tool_name"]}
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": {"reply": reply}}
    write.write(json.dumps(answer).encode() + b"\n")
    write.flush()
