// @ts-check
// The plugin that contract/cases/README.md describes, for the replay of the recorded exchanges.

import { setImmediate } from "node:timers/promises";

import { HostError, Refusal, createPlugin } from "./kodex.mjs";

/** @type {unknown} */
let given;

/** @typedef {import("./kodex.d.ts").Db} Db */
/** @typedef {import("./kodex.d.ts").State} State */

/** @type {Record<string, (db: Db, payload: any) => unknown>} */
const DATABASE = {
  query: (db, { sql, params }) => db.query(sql, params),
  query_one: async (db, { sql, params }) => ({ row: (await db.queryOne(sql, params)) ?? null }),
  execute: (db, { sql, params }) => db.execute(sql, params),
  async copy(db, { from, to }) {
    let changed = 0;
    for (const row of await db.query(from)) changed += await db.execute(to, Object.values(row));
    return changed;
  },
  async pages(db, { sql, params, n_rows: rows, stop_after: stop }) {
    const read = [];
    for await (const row of db.pages(sql, params, { rows })) {
      read.push(Object.values(row)[0]);
      if (read.length === stop) break;
    }
    return read;
  },
  transaction: (db, { statements, inside, raise }) =>
    db.transaction(async (tx) => {
      /** @type {unknown[]} */
      const changed = [];
      for (const sql of statements) changed.push(await tx.execute(sql));
      if (inside) await db.transaction(() => each(db, inside, changed)).catch((error) => changed.push(codeOf(error)));
      if (raise) throw new Error(raise);
      return changed;
    }),
};

/** @param {Db} db @param {string[]} statements @param {unknown[]} changed */
async function each(db, statements, changed) {
  for (const sql of statements) changed.push(await db.execute(sql));
}

/** @param {unknown} error */
function codeOf(error) {
  if (error instanceof HostError) return error.code;
  throw error;
}

/** @type {Record<string, (state: State, payload: any) => unknown>} */
const VALUES = {
  async get(state, { key }) {
    const value = await state.get(key);
    return { value: value === undefined ? "nothing" : value };
  },
  set: (state, { key, value, ttl_ms: ttlMs }) => state.set(key, value, { ttlMs }),
  set_if_absent: (state, { key, value, ttl_ms: ttlMs }) => state.setIfAbsent(key, value, { ttlMs }),
  compare_and_swap: (state, { key, value, version }) => state.compareAndSwap(key, value, { version }),
  increment: (state, { key }) => state.update(key, (n = 0) => n + 1),
  delete: (state, { key }) => state.delete(key),
  async list(state, { prefix }) {
    const read = [];
    for await (const { key, version } of state.list(prefix)) read.push([key, version]);
    return read;
  },
  lock: (state, { key, ttl_ms: ttlMs, renew_ms: renewMs, set, value }) =>
    state.lock(key, { ttlMs }, async (under) => {
      if (renewMs) await under.renew(renewMs);
      return state.set(set, value, { under });
    }),
};

/** @param {import("./kodex.d.ts").Accepted} accepted */
const accepted = ({ id, isNew }) => ({ id, new: isNew });

/** @type {Record<string, (door: any, payload: any) => unknown>} */
const WORK = {
  dispatch: async (agent, { do: _, ...wish }) => accepted(await agent.dispatch(wish)),
  async enqueue(jobs, { name, params, delay_ms: delayMs, max_attempts: maxAttempts, key, lane, priority }) {
    return accepted(await jobs.enqueue(name, params, { delayMs, maxAttempts, key, lane, priority }));
  },
  async find(door, { id }) {
    const found = await door.find(id);
    if (found === undefined) return "nothing";
    return [found.id, found.status, found.isOver, found.resultAt?.getTime() ?? null, found.error ?? null];
  },
  cancel: (door, { id }) => door.cancel(id),
};

const FILE = { kind: "file", address: "report.md" };

/** @param {any} door @param {Record<string, any>} table @param {any} payload */
async function done(door, table, payload) {
  try {
    return await table[payload.do](door, payload);
  } catch (error) {
    return { error: codeOf(error) };
  }
}

createPlugin({ name: "case-plugin", version: "1.2.3" })
  .activate(({ context }) => {
    given = context;
  })
  .hook("echo", (payload) => payload)
  .hook("nothing", () => undefined)
  .hook("raise", ({ text }) => {
    throw new Error(text);
  })
  .hook("log", (_, { host }) => {
    host.log("info", "indexed", { files: 12 });
    return { logged: true };
  })
  .hook("clock", (_, { host }) => host.request("clock/now"))
  .hook("ask", async ({ method, params }, { host }) => {
    try {
      return { result: await host.request(method, params) };
    } catch (error) {
      if (error instanceof HostError) return { error: error.code };
      throw error;
    }
  })
  .hook("wait", async (_, { signal }) => {
    while (!signal.aborted) await setImmediate();
  })
  .hook("org", () => given)
  .hook("db", (payload, { db }) => done(db, DATABASE, payload))
  .hook("state", (payload, { state }) => done(state, VALUES, payload))
  .hook("agent", (payload, { agent }) => done(agent, WORK, payload))
  .hook("job", (payload, { jobs }) => done(jobs, WORK, payload))
  .heartbeat(async ({ now, agent }) => {
    const day = Math.floor(now.getTime() / 86_400_000);
    await agent.dispatch({ key: `day ${day}`, to: FILE, input: "Report." });
  })
  .job("send", async (job) => {
    const { id, attempt, params } = job;
    try {
      const { first, value } = await job.effect("sent", params.text);
      if (params.raise) throw new Error(params.raise);
      return { id, attempt, first, value };
    } catch (error) {
      return { error: codeOf(error) };
    }
  })
  .job("ask", async ({ id, params, agent }) =>
    accepted(await agent.dispatch({ key: id, to: FILE, input: params.input })),
  )
  .job("session.completed", ({ session }) => [session?.session_id, session?.messages.map(({ text }) => text)])
  .step("0001_fill", async (step) => {
    const n = (step.progress?.n ?? 0) + 1;
    await step.save({ n }, { scanned: n });
    return { scanned: n, migrated: n };
  })
  .step("0002_quiet", (step) => step.save("half", { scanned: 3, skipped: 0 }))
  .step("0003_wrong", () => /** @type {any} */ ({ eaten: 1 }))
  .step("0004_raise", () => {
    throw new Error("no");
  })
  .tool("count", (input) => {
    if (typeof input?.text !== "string") throw new Refusal("text must be a string");
    return { words: input.text.split(/\s+/).filter(Boolean).length };
  })
  .run();
