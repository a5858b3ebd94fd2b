// The least that a worker in Node can be: lines of JSON in, lines of JSON out.

import { createInterface } from "node:readline";

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, params } = JSON.parse(line);
  const reply = { decision: "approve", tool: params.tool_name };
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", id, result: { reply } })}\n`);
});
