// A hook as a tool call over MCP, with the Node SDK on both sides.
//
// `node mcp_calls.mjs FOLDER`, where FOLDER holds node_modules: each question is
// {"lanes": N, "calls": N, "payload": {...}}, each answer {"us": [...], "seconds": TIME}.
// `node mcp_calls.mjs FOLDER server` is the server that it starts.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const [folder, role] = process.argv.slice(2);
const load = createRequire(`${folder}/none.js`);
const SDK = "@modelcontextprotocol/sdk";

async function serve() {
  const { Server } = load(`${SDK}/server/index.js`);
  const { StdioServerTransport } = load(`${SDK}/server/stdio.js`);
  const { CallToolRequestSchema, ListToolsRequestSchema } = load(`${SDK}/types.js`);
  const server = new Server({ name: "bench", version: "1.0.0" }, { capabilities: { tools: {} } });
  const tools = [{ name: "hook", inputSchema: { type: "object" } }];
  server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }) => {
    const reply = { decision: "approve", tool: params.arguments.payload.tool_name };
    return { content: [{ type: "text", text: JSON.stringify(reply) }] };
  });
  await server.connect(new StdioServerTransport());
}

async function sample(client, { lanes, calls, payload }) {
  const us = [];
  const lane = async () => {
    for (let call = 0; call < Math.floor(calls / lanes); call++) {
      const started = performance.now();
      const { content } = await client.callTool({ name: "hook", arguments: { payload } });
      us.push((performance.now() - started) * 1e3);
      if (!content[0].text.includes("approve")) throw new Error("not the answer of the tool");
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: lanes }, lane));
  return { us, seconds: (performance.now() - started) / 1e3 };
}

async function measure() {
  const { Client } = load(`${SDK}/client/index.js`);
  const { StdioClientTransport } = load(`${SDK}/client/stdio.js`);
  const client = new Client({ name: "bench", version: "1.0.0" }, { capabilities: {} });
  const args = [fileURLToPath(import.meta.url), folder, "server"];
  await client.connect(new StdioClientTransport({ command: process.execPath, args }));
  const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  const { version } = JSON.parse(readFileSync(`${folder}/node_modules/${SDK}/package.json`, "utf8"));
  answer({ mcp: version });
  for await (const line of createInterface({ input: process.stdin })) {
    answer(await sample(client, JSON.parse(line)));
  }
  await client.close();
}

await (role === "server" ? serve() : measure());
