// Run with `node --test`.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { countWords } from "./words.mjs";

test("words are counted", () => {
  assert.equal(countWords("  one two\nthree "), 3);
  assert.equal(countWords(""), 0);
});

test("the plugin answers its hook and its tool, and ends when it is told", async () => {
  const plugin = spawn(process.execPath, ["plugin.mjs"], { cwd: import.meta.dirname, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: plugin.stdout })[Symbol.asyncIterator]();
  let id = 0;
  const ask = async (method, params) => {
    plugin.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: ++id, method, params })}\n`);
    for (;;) {
      const { value, done } = await lines.next();
      assert.ok(!done, "the plugin ended");
      const message = JSON.parse(value);
      if (message.id === id) return message.result;
    }
  };
  const call = (kind, name, payload) => ask("call", { kind, name, payload, timeout_ms: 2000, deadline_unix_ms: Date.now() + 2000 });

  await ask("initialize", {
    contract: { version: 1, features: [] },
    host: { name: "test", version: "0" },
    plugin: "{{name}}",
    context: {},
    grants: [],
    limits: { frame_bytes: 1048576, depth: 64 },
  });
  assert.deepEqual(await call("hook", "hook.name", { a: 1 }), { reply: { plugin: "{{name}}", payload: { a: 1 } } });
  assert.deepEqual(await call("tool", "count_words", { text: "one two" }), { reply: { words: 2 } });
  const ended = once(plugin, "exit");
  await ask("shutdown", null);
  plugin.stdin.end();
  assert.deepEqual(await ended, [0, null]);
});
