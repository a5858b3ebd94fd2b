// @ts-check
// Drives the plugin as the host does: a process, and lines of JSON.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { test } from "node:test";

import { Host, folder, initialize } from "./raw-host.mjs";

/** @param {string} kind @param {string} name @param {unknown} payload */
const call = (kind, name, payload) => ({
  kind,
  name,
  payload,
  timeout_ms: 1000,
  deadline_unix_ms: 1_795_000_001_000,
});

test("it shakes hands, logs, and asks for the time", async (t) => {
  const host = new Host(t);
  assert.deepEqual((await host.initialize({ marks: ["TODO"] })).result, {
    contract: { version: 1, features: ["agent", "cancel", "clock", "db", "job", "log", "state", "step"] },
    plugin: { name: "todo-node", version: "0.1.0" },
  });
  const { params } = await host.read((message) => message.method === "log");
  assert.deepEqual(params, {
    level: "info",
    message: "ready",
    fields: { marks: ["TODO"], started: new Date(1_795_000_000_000).toISOString() },
  });
});

test("it finds what is to do", async (t) => {
  const host = new Host(t);
  await host.initialize();
  let id = 1;
  /** @param {unknown} text @param {unknown} want */
  const check = async (text, want) => {
    const { result, error } = await host.ask(++id, "call", call("tool", "find_todos", { text }));
    assert.deepEqual(result ? result.reply.todos : error, want, String(text));
  };
  await check("", []);
  await check("todo: no comment\nlet TODO = 1;", []);
  await check("a\r\n// TODO: close\u2028it\r\n", [{ line: 2, mark: "TODO", text: "close\u2028it" }]);
  await check("# FIXME(ann): x", [{ line: 1, mark: "FIXME", owner: "ann", text: "x" }]);
  await check("/* HACK: y */", [{ line: 1, mark: "HACK", text: "y" }]);
  await check("<!-- XXX -->\n -- TODO", [
    { line: 1, mark: "XXX", text: "" },
    { line: 2, mark: "TODO", text: "" },
  ]);
  await check("#".repeat(300_000), []);
  await check(7, {
    code: -32001,
    message: "`text` must be the text to look through",
    data: { code: "tool.input.refused" },
  });
});

test("the hook adds to a prompt, or says nothing", async (t) => {
  const host = new Host(t);
  await host.initialize();
  let id = 1;
  /** @param {unknown} payload @param {unknown} want */
  const check = async (payload, want) => {
    const { result } = await host.ask(++id, "call", call("hook", "prompt.submit", payload));
    assert.deepEqual(result, want);
  };
  await check({ prompt: "hello" }, {});
  await check({}, {});
  await check(null, {});
  const prompt = "# TODO: test";
  const context = ["Still to do:\n- line 1: TODO test"];
  await check({ prompt }, { reply: { prompt, context } });
  await check(
    { prompt, cwd: "/srv", context: ["before"] },
    { reply: { prompt, cwd: "/srv", context: ["before", ...context] } },
  );
});

test("errors have the numbers of the contract", async (t) => {
  const host = new Host(t);
  /** @param {any} answer @param {number} code @param {string} name */
  const check = ({ error }, code, name) => assert.deepEqual([error?.code, error?.data?.code], [code, name]);
  const find = call("tool", "find_todos", { text: "" });
  check(await host.ask(1, "call", find), -32003, "not_initialized");
  const v2 = initialize({ contract: { version: 2, features: [] } });
  check(await host.ask(2, "initialize", v2), -32602, "contract.version.unsupported");
  const other = initialize({ plugin: "other" });
  check(await host.ask(3, "initialize", other), -32602, "plugin.name.different");
  check(await host.ask(4, "initialize"), -32602, "params.invalid");
  await host.initialize();
  check(await host.ask(5, "initialize", initialize()), -32600, "wire.initialized");
  check(await host.ask(6, "call", call("tool", "find_todo", {})), -32601, "method.unknown");
  check(await host.ask(7, "call", call("hook", "find_todos", {})), -32601, "method.unknown");
  check(await host.ask(8, "call", null), -32602, "params.invalid");
  check(await host.ask(9, "toString"), -32601, "method.unknown");
  host.write("{no json}\n");
  check(await host.read((message) => message.id === null), -32700, "wire.frame.syntax");
  assert.ok((await host.ask(10, "call", find)).result, "it still answers");
});

test("an activation that fails is told, with the host's words", async (t) => {
  const host = new Host(t);
  const answer = host.ask(1, "initialize", initialize());
  const clock = await host.read((message) => message.method === "clock/now");
  host.send({ jsonrpc: "2.0", id: clock.id, error: { code: -32601, message: "no clock here" } });
  const { error } = await answer;
  assert.deepEqual([error.code, error.message, error.data.code], [-32000, "no clock here", "plugin.raised"]);
  assert.match(error.data.traceback, /no clock here/);
});

test("many calls may be open, and a cancel ends one of them", async (t) => {
  const host = new Host(t);
  await host.initialize();
  const long = "x\n".repeat(200_000);
  const lines = [2, 3, 4, 5].map((id) => {
    const text = id === 2 ? long : `# TODO: ${id}`;
    return JSON.stringify({ jsonrpc: "2.0", id, method: "call", params: call("tool", "find_todos", { text }) });
  });
  // One write, so that all of them are there before the first is done.
  host.write(`${lines.join("\n")}\n${JSON.stringify({ jsonrpc: "2.0", method: "$/cancel", params: { id: 2 } })}\n`);
  for (const id of [3, 4, 5]) {
    const { result } = await host.read((message) => message.id === id);
    assert.equal(result.reply.todos[0].text, String(id));
  }
  const { error } = await host.read((message) => message.id === 2);
  assert.deepEqual([error.code, error.data.code], [-32002, "call.cancelled"]);
  assert.equal((await host.ask(6, "call", call("tool", "find_todos", { text: "" }))).id, 6);
  assert.deepEqual(host.unread.filter((message) => message.id === 2), [], "answered once");
});

test("a line may come in pieces, even inside of a letter", async (t) => {
  const host = new Host(t);
  await host.initialize();
  /** @param {number} id @param {string} text */
  const line = (id, text) =>
    `${JSON.stringify({ jsonrpc: "2.0", id, method: "call", params: call("tool", "find_todos", { text }) })}\r\n`;
  const bytes = Buffer.from(line(2, "") + line(3, "# TODO: \u{1f9d1}"));
  const middle = bytes.indexOf(0xf0) + 2;
  host.child.stdin.write(bytes.subarray(0, middle));
  // With the answer to the first line the plugin has also taken the first piece of the second.
  await host.read((message) => message.id === 2);
  host.child.stdin.write(bytes.subarray(middle));
  const { result } = await host.read((message) => message.id === 3);
  assert.equal(result.reply.todos[0].text, "\u{1f9d1}");
});

test("it ends when told to, cancelling what is open, and when its input ends", async (t) => {
  const host = new Host(t);
  await host.initialize();
  const params = call("tool", "find_todos", { text: "x\n".repeat(200_000) });
  host.send({ jsonrpc: "2.0", id: 2, method: "call", params });
  assert.equal((await host.ask(3, "shutdown")).result, null);
  assert.equal((await host.read((message) => message.id === 2)).error.code, -32002);
  assert.deepEqual(await host.exited, [0, null]);

  const other = new Host(t);
  other.child.stdin.end();
  assert.deepEqual(await other.exited, [0, null]);
});

test("what cannot be sent becomes an error, and console.log does not reach the wire", async (t) => {
  const source = `import { createPlugin } from "./kodex.mjs";
    createPlugin({ name: "todo-node", version: "0.1.0" })
      .hook("a", () => { console.log("hello"); return 1; })
      .hook("b", () => { throw new TypeError("broken"); })
      .hook("c", () => 10n)
      .hook("d", () => "\\\\ud800 is only a text")
      .hook("e", () => "x".repeat(2 ** 20))
      .hook("f", () => ({ "\\ud800": 1 }))
      .run();`;
  const host = new Host(t, ["node", "--input-type=module", "-e", source]);
  await host.ask(1, "initialize", initialize());
  assert.deepEqual((await host.ask(2, "call", call("hook", "a", {}))).result, { reply: 1 });
  const { error } = await host.ask(3, "call", call("hook", "b", {}));
  assert.deepEqual([error.code, error.message], [-32000, "broken"]);
  assert.equal((await host.ask(4, "call", call("hook", "c", {}))).error.code, -32000);
  assert.equal((await host.ask(5, "call", call("hook", "d", {}))).result.reply, "\\ud800 is only a text");
  const code = async (/** @type {number} */ id, /** @type {string} */ name) =>
    (await host.ask(id, "call", call("hook", name, {}))).error.data.code;
  assert.equal(await code(6, "e"), "plugin.reply.too_large");
  assert.equal(await code(7, "f"), "plugin.reply.invalid");
  assert.equal((await host.ask(8, "shutdown")).result, null);
  await host.exited;
  assert.equal(host.stderr, "hello\n");
});

test("the types hold", async (t) => {
  let tsc;
  try {
    tsc = createRequire(import.meta.url).resolve("typescript/lib/tsc.js");
  } catch {
    t.skip("typescript is not installed here");
    return;
  }
  const check = spawn("node", [tsc, "-p", folder], { stdio: "inherit" });
  assert.deepEqual(await once(check, "exit"), [0, null]);
});
