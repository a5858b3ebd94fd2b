"""A hook that is a program, in Python: started for each event, reads it, answers, ends."""

import json
import sys

payload = json.load(sys.stdin)
json.dump({"decision": "approve", "tool": payload["tool_name"]}, sys.stdout)
