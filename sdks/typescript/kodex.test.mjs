// @ts-check
// The SDK from the author's side, over the fake host. The wire itself is tested by the recorded
// exchanges, which examples/todo-node replays against its copy of kodex.mjs.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { HostError, Json, Numeric, Refusal, createPlugin, fromWire, toWire } from "./kodex.mjs";
import { FakeHost } from "./testing.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));

/** A plugin whose hook `h` is this function. @param {import("./kodex.d.ts").Handler} handler */
const plugin = (handler) => createPlugin({ name: "p", version: "1.0.0" }).hook("h", handler);

/** @param {string} code */
const refused = (code) => (/** @type {any} */ error) => {
  assert.equal(error.code, code, error.stack);
  return true;
};

test("parameters", () => {
  /** @param {unknown} value @param {unknown} want */
  const check = (value, want) => assert.deepEqual(toWire(value), want);
  check(null, null);
  check(true, true);
  check("ü", "ü");
  check(1.5, 1.5);
  check(2n ** 53n, 2 ** 53);
  check(-(2n ** 53n), -(2 ** 53));
  check(2n ** 53n + 1n, { $int: "9007199254740993" });
  check(-(2n ** 63n), { $int: "-9223372036854775808" });
  check(2n ** 63n, { $numeric: "9223372036854775808" });
  check(NaN, { $float: "NaN" });
  check(-Infinity, { $float: "-Infinity" });
  check(new Uint8Array([0, 255]), { $bytes: "AP8=" });
  check(new Uint16Array([1, 2, 3]).subarray(1, 2), { $bytes: "AgA=" });
  check(new Uint8Array([1]).buffer, { $bytes: "AQ==" });
  check(Buffer.from("hi"), { $bytes: "aGk=" });
  check(new Date(0), "1970-01-01T00:00:00.000Z");
  check(new Numeric("1.10"), { $numeric: "1.10" });
  check({ a: [1] }, { $json: { a: [1] } });
  check({ $int: "1" }, { $json: { $int: "1" } });
  check(Object.create(null), { $json: Object.create(null) });
  check(new Json([1]), { $json: [1] });
  check([1, [new Uint8Array(), null]], [1, [{ $bytes: "" }, null]]);
  for (const wrong of [undefined, () => 1, Symbol("s"), new Map(), new Set(), new Date(NaN), [undefined]]) {
    assert.throws(() => toWire(wrong), /cannot be sent|Invalid time/, String(wrong));
  }
  assert.throws(() => new Numeric("1,5"), /no decimal/);
});

test("results", () => {
  assert.deepEqual(fromWire([1, { $int: "5" }, null, true]), [1, 5n, null, true]);
  assert.deepEqual(fromWire({ $bytes: "AP8=" }), new Uint8Array([0, 255]));
  assert.deepEqual(fromWire({ $json: { $int: "1" } }), { $int: "1" });
  assert.equal(fromWire({ $float: "-Infinity" }), -Infinity);
  const price = fromWire({ $numeric: "1.10" });
  assert.deepEqual([String(price), Number(price), JSON.stringify(price)], ["1.10", 1.1, '"1.10"']);
  assert.throws(() => fromWire({ $date: "x" }), /unknown tag \$date/);
});

test("a query gives rows, and a handler's refusal is the model's text", async () => {
  const own = plugin(async (payload, { db }) => {
    const rows = await db.query("SELECT * FROM notes WHERE id > :id", { id: payload.id });
    return [rows.map((row) => row.text), rows.columns, rows.changed, Array.isArray(rows)];
  })
    .hook("one", (_, { db }) => db.queryOne("SELECT 1").then((row) => row ?? "none"))
    .hook("text", (_, { db }) => db.query("SELECT 1", /** @type {any} */ ("text")))
    .tool("t", () => {
      throw new Refusal("no");
    });
  /** @type {any} */
  let rows = [{ id: 8n, text: "milk" }, { id: 9, text: null }];
  const host = await FakeHost.start(own, { db: () => rows });
  assert.deepEqual(await host.callHook("h", { id: 7 }), [["milk", null], ["id", "text"], 0, true]);
  assert.deepEqual(host.statements, [{ sql: "SELECT * FROM notes WHERE id > :id", params: { id: 7 } }]);
  assert.equal(host.requests[0]?.params.call, 2);
  await assert.rejects(host.callHook("one"), /more than 1 rows/);
  rows = [];
  assert.equal(await host.callHook("one"), "none");
  await assert.rejects(host.callHook("text"), /an array or an object/);
  await assert.rejects(host.callTool("t"), refused("tool.input.refused"));
});

test("a tool knows its caller, and no input can change that", async () => {
  const own = createPlugin({ name: "p", version: "1.0.0" }).tool("who", (_, call) => call.caller ?? null);
  const host = await FakeHost.start(own);
  const caller = { call_id: "7", source: { kind: "session", address: "s-1" } };
  assert.deepEqual(await host.callTool("who", { caller: "me" }, caller), caller);
  assert.equal(await host.callTool("who", { caller: "me" }), null);
});

test("rows keep the order of their columns, and of two of one name the first counts", async () => {
  const own = plugin(async (_, { db }) => (await db.query("SELECT 1")).map((row) => Object.entries(row)));
  const columns = ["b", "a", "b", "__proto__"].map((name) => ({ name, type: "any" }));
  const service = () => ({ columns, rows: [[1, 2, 3, 4]], changed: 0 });
  const host = await FakeHost.start(own, { services: { "db/query": service } });
  assert.deepEqual(await host.callHook("h"), [[["b", 1], ["a", 2], ["__proto__", 4]]]);
});

test("a transaction holds what is asked inside it, in functions that are called there too", async () => {
  const add = (/** @type {any} */ db, /** @type {string} */ text) => db.execute("INSERT INTO notes VALUES (?)", [text]);
  /** @type {any} */
  let kept;
  const own = plugin(async (payload, { db }) => {
    const changed = await db.transaction(async (tx) => {
      kept = tx;
      await add(db, "a");
      try {
        await db.transaction(() => add(tx, "bad"));
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
      }
      if (payload.pages) for await (const _ of db.pages("SELECT 1"));
      if (payload.raise) throw new Error(payload.raise);
      return add(db, "b");
    });
    return [changed, await add(db, "c")];
  });
  const host = await FakeHost.start(own, {
    db: (_, [text]) => {
      if (text === "bad") throw new HostError({ message: "no", data: { code: "db.constraint" } });
      return 1;
    },
  });
  const ran = () => host.statements.splice(0).map(({ sql, params }) => params[0] ?? sql);
  assert.deepEqual(await host.callHook("h"), [1, 1]);
  assert.deepEqual(ran(), ["BEGIN", "a", "SAVEPOINT", "bad", "ROLLBACK TO", "b", "COMMIT", "c"]);
  assert.deepEqual(
    host.requests.filter(({ method }) => method === "db/query").map(({ params }) => params.tx),
    [1, 1, 1, undefined],
  );
  await assert.rejects(host.callHook("h", { raise: "changed my mind" }), /changed my mind/);
  assert.deepEqual(ran().slice(-2), ["ROLLBACK TO", "ROLLBACK"]);
  await assert.rejects(host.callHook("h", { pages: true }), /in pages inside a transaction/);
  await assert.rejects(kept.query("SELECT 1"), /the transaction is over/);
});

test("calls side by side have transactions of their own", async () => {
  /** @type {(() => void)[]} */
  const gates = [];
  const own = plugin(async (payload, { db }) =>
    db.transaction(async () => {
      await new Promise((resolve) => gates.push(() => resolve(undefined)));
      return db.execute("DELETE FROM notes", [payload.n]);
    }),
  );
  let lastTx = 0;
  const host = await FakeHost.start(own, {
    db: () => 1,
    services: {
      "db/begin": () => ({ tx: ++lastTx }),
      "db/query": () => ({ columns: [], rows: [], changed: 1 }),
      "db/commit": () => null,
    },
  });
  const calls = [host.callHook("h", { n: 1 }), host.callHook("h", { n: 2 })];
  while (gates.length < 2) await new Promise(setImmediate);
  for (const open of gates.reverse()) open();
  await Promise.all(calls);
  const asked = host.requests.filter(({ method }) => method === "db/query").map(({ params }) => [params.params[0], params.tx, params.call]);
  assert.deepEqual(asked.sort(), [[1, 1, 2], [2, 2, 3]]);
});

test("many requests at once leave the host room", async () => {
  /** @type {((value: unknown) => void)[]} */
  const open = [];
  const own = plugin(async (_, { host }) => {
    const answers = await Promise.all(Array.from({ length: 300 }, () => host.request("m")));
    return answers.length;
  });
  const host = await FakeHost.start(own, { services: { m: () => new Promise((resolve) => open.push(resolve)) } });
  const call = host.callHook("h");
  while (open.length < 256) await new Promise(setImmediate);
  await new Promise(setImmediate);
  assert.equal(host.requests.length, 256);
  while (host.requests.length < 300 || open.length > 0) {
    open.shift()?.(1);
    await new Promise(setImmediate);
  }
  assert.equal(await call, 300);
});

test("a large result is read in pages", async () => {
  const own = plugin(async (payload, { db }) => {
    const read = [];
    for await (const { n } of db.pages("SELECT n FROM t", [], { rows: 2 })) {
      read.push(n);
      if (read.length === payload.stop) break;
    }
    return read;
  });
  const host = await FakeHost.start(own, { db: () => [1, 2, 3, 4, 5].map((n) => ({ n })) });
  assert.deepEqual(await host.callHook("h"), [1, 2, 3, 4, 5]);
  const methods = () => host.requests.splice(0).map(({ method }) => method);
  assert.deepEqual(methods(), ["db/query", "db/fetch", "db/fetch"]);
  assert.deepEqual(await host.callHook("h", { stop: 1 }), [1]);
  assert.deepEqual(methods(), ["db/query", "db/close"]);
});

test("a call that was taken back asks nothing more", async () => {
  /** @type {any} */
  let late;
  const own = plugin(async (_, { db, signal }) => {
    late = db.transaction(async () => {
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      return db.execute("DELETE FROM notes");
    });
    return late;
  });
  const host = await FakeHost.start(own, { db: () => 1 });
  const call = host.callHook("h");
  while (host.statements.length === 0) await new Promise(setImmediate);
  host.cancel();
  await assert.rejects(call, refused("call.cancelled"));
  await assert.rejects(late, /cancelled/);
  assert.deepEqual(host.statements.map(({ sql }) => sql), ["BEGIN", "ROLLBACK"]);
});

test("without a database the host says so", async () => {
  const host = await FakeHost.start(plugin((_, { db }) => db.query("SELECT 1")));
  await assert.rejects(host.callHook("h"), /the plugin has no database/);
  assert.equal(new HostError({ message: "", data: { code: "db.conflict" } }).isRetryable, true);
  assert.equal(new HostError({ message: "" }).isRetryable, false);
});

/** Runs a function with the plugin's values. @param {import("./kodex.d.ts").Handler} work */
async function withState(work) {
  const host = await FakeHost.start(plugin(work));
  return { host, reply: await host.callHook("h") };
}

test("values", async () => {
  const { host, reply } = await withState(async (_, { state }) => {
    const first = await state.set("k", null);
    const second = await state.set("k", { a: "ü" });
    assert.ok(second > first);
    assert.equal(await state.get("none"), undefined);
    assert.equal(await state.entry("none"), undefined);
    assert.equal(await state.compareAndSwap("k", 1, { version: first }), false);
    await assert.rejects(state.compareAndSwap("k", 1, first), /needs \{ version \}/);
    assert.equal(await state.setIfAbsent("k", 1), false);
    assert.deepEqual(await state.entry("k"), { value: { a: "ü" }, version: second, expiresAt: undefined });
    assert.equal(await state.delete("k", { version: first }), false);
    assert.equal(await state.delete("k"), true);
    assert.equal(await state.delete("k"), false);
    assert.equal(await state.setIfAbsent("k", null), true);
    await assert.rejects(state.set("k", undefined), /undefined is no value/);
    return [await state.update("n", (n = 0) => n + 1), await state.update("n", async (n = 0) => n + 1)];
  });
  assert.deepEqual(reply, [1, 2]);
  assert.deepEqual(host.values, { k: null, n: 2 });
});

test("values that last for a while, and lists over pages", async () => {
  /** @type {any} */
  let kept;
  const { host } = await withState(async (_, { state }) => {
    kept = state;
    await state.set("short", 1, { ttlMs: 10 });
    for (let n = 0; n < 1002; n += 1) await state.set(`a/${String(n).padStart(4, "0")}`, n);
  });
  host.clock.advance(9);
  assert.equal(await kept.get("short"), 1);
  assert.deepEqual((await kept.entry("short")).expiresAt, new Date(host.clock.now + 1));
  host.clock.advance(1);
  assert.equal(await kept.get("short"), undefined);
  const keys = [];
  for await (const { key, bytes } of kept.list("a/")) keys.push([key, bytes]);
  assert.deepEqual([keys.length, keys[0], keys.at(-1)], [1002, ["a/0000", 1], ["a/1001", 4]]);
});

test("locks", async () => {
  /** @type {FakeHost} */
  let host;
  const own = plugin(async (_, { state }) => {
    /** @type {number[]} */
    const tokens = [];
    for (const _ of [1, 2]) {
      const fails = state.lock("k", {}, async (lease) => {
        tokens.push(lease.token);
        await assert.rejects(state.lock("k", {}, () => 1), refused("state.locked"));
        throw new Error("inside");
      });
      await assert.rejects(fails, /inside/);
    }
    assert.ok(Number(tokens[0]) < Number(tokens[1]));
    return state.lock("k", { ttlMs: 10 }, async (under) => {
      host.clock.advance(9);
      await under.renew(10);
      host.clock.advance(9);
      await state.set("k", 1, { under });
      host.clock.advance(1);
      await assert.rejects(state.set("k", 2, { under }), refused("state.lease_lost"));
      await assert.rejects(state.delete("k", { under }), refused("state.lease_lost"));
      await assert.rejects(under.renew(10), refused("state.lease_lost"));
      return under.key;
    });
  });
  host = await FakeHost.start(own);
  assert.equal(await host.callHook("h"), "k");
  assert.deepEqual(host.values, { k: 1 });
});

test("limits of values", async () => {
  await withState(async (_, { state }) => {
    for (const key of ["", " \t", "k".repeat(513), "a\0b"]) {
      await assert.rejects(state.set(key, 1), refused("state.key"));
      await assert.rejects(state.get(key), refused("state.key"));
    }
    await state.set("ü".repeat(512), "x".repeat(256 * 1024 - 2));
    await assert.rejects(state.set("k", "x".repeat(256 * 1024 - 1)), refused("state.too_large"));
    await assert.rejects(state.set("k", 1, { ttlMs: 0 }), refused("state.ttl"));
    await assert.rejects(state.lock("k", { ttlMs: 86_400_001 }, () => 1), refused("state.ttl"));
  });
});

test("data steps", async () => {
  const own = createPlugin({ name: "p", version: "1.0.0" })
    .step("0002_fill", async (step) => {
      for (let n = step.progress ?? 0; n < 3; n += 1) await step.save(n + 1, { scanned: n + 1 });
    })
    .step("0003_wrong", () => /** @type {any} */ ({ eaten: 1 }))
    .step("0004_none", async ({ db }) => ({ migrated: await db.execute("DELETE FROM t") }))
    .hook("h", (_, { host }) => host.request("step/progress", { progress: 1 }));
  const host = await FakeHost.start(own, { db: () => 4 });
  assert.deepEqual(await host.runStep("0002_fill"), { scanned: 3 });
  assert.deepEqual(host.progress, { "0002_fill": 3 });
  assert.equal(host.requests.length, 3);
  assert.deepEqual(await host.runStep("0002_fill", 2), { scanned: 3 });
  assert.equal(host.requests.length, 4);
  await assert.rejects(host.runStep("0003_wrong"), /no counter "eaten"/);
  assert.deepEqual(await host.runStep("0004_none"), { migrated: 4 });
  await assert.rejects(host.runStep("0009_none"), refused("method.unknown"));
  await assert.rejects(host.callHook("h"), /no data step/);
  for (const name of ["fill", "0003", "3_x", "0003_x.sql"]) {
    assert.throws(() => createPlugin({ name: "p", version: "1" }).step(name, () => {}), /named like its file/);
  }
});

test("activation has the values, the clock and the configuration", async () => {
  const own = plugin((_, { state }) => state.get("k")).activate(async ({ context, grants, state, host }) => {
    await state.set("k", [context.org, grants, (await host.now()).getTime()]);
    host.log("info", "ready");
  });
  const host = await FakeHost.start(own, { config: { org: "acme" }, grants: ["state"] });
  assert.deepEqual(await host.callHook("h"), ["acme", ["state"], 1_700_000_000_000]);
  assert.deepEqual(host.logs, [{ level: "info", message: "ready", fields: {} }]);
  const failing = plugin(() => 1).activate(() => {
    throw new Error("no start");
  });
  await assert.rejects(FakeHost.start(failing), /no start/);
});

test("run with a url listens only where the file is the program", () => {
  const folder = mkdtempSync(join(tmpdir(), "kodex-"));
  try {
    const sdk = JSON.stringify(new URL("kodex.mjs", import.meta.url).href);
    const text = `import { createPlugin } from ${sdk};
      export const plugin = createPlugin({ name: "p", version: "1.0.0" }).run(import.meta.url);`;
    writeFileSync(join(folder, "plugin.mjs"), text);
    writeFileSync(join(folder, "main.mjs"), `import "./plugin.mjs"; console.log("no plugin");`);
    const input = '{"jsonrpc":"2.0","id":1,"method":"shutdown"}\n';
    /** @param {string} file */
    const said = (file) => spawnSync("node", [join(folder, file)], { input, encoding: "utf8", timeout: 20_000 }).stdout;
    assert.equal(said("plugin.mjs"), '{"jsonrpc":"2.0","id":1,"result":null}\n');
    assert.equal(said("main.mjs"), "no plugin\n");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("the copies in the examples are the SDK's files", (t) => {
  const examples = join(here, "../../examples/todo-node");
  if (!existsSync(examples)) return t.skip("the examples are not here");
  for (const file of ["kodex.mjs", "kodex.d.ts"]) {
    const want = readFileSync(join(here, file), "utf8");
    assert.equal(readFileSync(join(examples, file), "utf8"), want, `copy sdks/typescript/${file} to examples/todo-node`);
  }
});

test("the types hold", (t) => {
  let compiler;
  try {
    compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  } catch {
    return t.skip("typescript is not installed here");
  }
  const { status, stdout } = spawnSync("node", [compiler, "-p", here], { encoding: "utf8" });
  assert.equal(status, 0, stdout);
});
