// @ts-check
// A host for tests: it runs a plugin without a process, over the same lines of JSON.
//
// Values and locks keep the host's rules on a clock that is moved by hand. The database is a function
// of the test's, because Node has none before version 22: it is given each statement and its
// parameters and says what comes back. Time limits of a database are not enforced.

import { HostError, fromWire, toWire } from "./kodex.mjs";
import { FakeWork } from "./testing-work.mjs";

export { HostError } from "./kodex.mjs";

/** @typedef {import("./kodex.d.ts").Message} Message */
/** @typedef {import("./testing.d.ts").FakeOptions} FakeOptions */

const FEATURES = ["agent", "cancel", "clock", "db", "job", "log", "state", "step"];
const START = 1_700_000_000_000;
const KEY_CHARS = 512;
const VALUE_BYTES = 256 << 10;
const MAX_TTL_MS = 10 * 366 * 24 * 3_600_000;
const MAX_LEASE_MS = 24 * 3_600_000;
const PAGE = 1000;
/** How the ends of transactions appear among the statements. */
const WORDS = /** @type {Record<string, string>} */ ({
  "db/commit": "COMMIT",
  "db/rollback": "ROLLBACK",
  "db/save": "SAVEPOINT",
  "db/release": "RELEASE",
  "db/undo": "ROLLBACK TO",
});

/** @param {string} code @param {string} message */
const refusal = (code, message) => new HostError({ message, data: { code } });

export class FakeHost {
  clock = {
    now: START,
    /** @param {number} ms */
    advance(ms) {
      this.now += ms;
    },
  };
  /** @type {{level: any, message: string, fields: any}[]} */
  logs = [];
  /** @type {{sql: string, params: any}[]} */
  statements = [];
  /** @type {{method: string, params: any}[]} */
  requests = [];
  /** @type {Record<string, any>} */
  progress = {};
  #options;
  #values = new Values(this.clock);
  /** @type {FakeWork} */
  #work;
  /** @type {Map<number, (answer: Message) => void>} */
  #waiting = new Map();
  #lastId = 0;
  #lastOpened = 0;
  /** @type {number | undefined} */
  #tx;
  #depth = 0;
  /** @type {Map<number, any>} */
  #cursors = new Map();
  /** @type {string | undefined} */
  #step;
  /** @type {(chunk: Buffer) => void} */
  #take = () => {};

  /** @param {FakeOptions} options @param {string} [plugin] */
  constructor(options, plugin = "plugin") {
    this.#options = options;
    this.#work = new FakeWork(plugin, this.clock, options);
  }

  /** @param {import("./kodex.d.ts").Plugin} plugin @param {FakeOptions} [options] */
  static async start(plugin, options = {}) {
    const host = new FakeHost(options, plugin.identity.name);
    host.#take = plugin.connect({ write: (line) => host.#hear(JSON.parse(line)) });
    await host.#ask("initialize", {
      contract: { version: 1, features: FEATURES },
      host: { name: "kodex", version: "0.1.0" },
      plugin: plugin.identity.name,
      context: options.config ?? {},
      grants: options.grants ?? [],
      limits: { frame_bytes: 1 << 20, depth: 64 },
    });
    return host;
  }

  get values() {
    return this.#values.all();
  }

  get runs() {
    return [...this.#work.runs.values()];
  }

  get jobs() {
    return [...this.#work.jobs.values()];
  }

  async beat() {
    const ticket = this.#work.issue();
    try {
      return await this.#call("hook", "heartbeat", { now_unix_ms: this.clock.now, ticket });
    } finally {
      this.#work.end(ticket);
    }
  }

  async runJobs() {
    const done = [];
    for (let job = this.#work.due(); job; job = this.#work.due()) {
      done.push(job);
      // What it throws stands in the job, as with a host.
      await this.#attempt(job).catch(() => {});
    }
    return done;
  }

  /** @param {string} name @param {unknown} [params] @param {{session?: object}} [options] */
  callJob(name, params = null, { session } = {}) {
    return this.#attempt(this.#work.add(name, params), session);
  }

  /** @param {import("./testing-work.mjs").FakeJob} job @param {object} [session] */
  async #attempt(job, session) {
    const call = this.#work.begin(job, session);
    try {
      const result = await this.#call("hook", `job.${job.name}`, call);
      this.#work.succeed(job, result);
      return result;
    } catch (error) {
      this.#work.fail(job, /** @type {Error} */ (error));
      throw error;
    } finally {
      this.#work.end(call.ticket);
    }
  }

  /** @param {string} name @param {unknown} [payload] */
  callHook(name, payload = {}) {
    return this.#call("hook", name, payload);
  }

  /** @param {string} name @param {unknown} [input] @param {import("./kodex.d.ts").Caller} [caller] */
  callTool(name, input = {}, caller) {
    return this.#call("tool", name, input, caller);
  }

  /** @param {string} name @param {unknown} [progress] */
  async runStep(name, progress = null) {
    this.#step = name;
    try {
      return await this.#call("step", name, { progress });
    } finally {
      this.#step = undefined;
    }
  }

  cancel() {
    this.#send({ method: "$/cancel", params: { id: this.#lastId } });
  }

  /** @param {string} kind @param {string} name @param {unknown} payload @param {object} [caller] */
  async #call(kind, name, payload, caller) {
    const { timeoutMs = 30_000 } = this.#options;
    const due = { timeout_ms: timeoutMs, deadline_unix_ms: Date.now() + timeoutMs };
    try {
      return (await this.#ask("call", { kind, name, payload, ...due, caller })).reply;
    } finally {
      // A call that ends takes what it has open with it.
      if (this.#tx !== undefined) this.#end("db/rollback");
      this.#cursors.clear();
    }
  }

  /** @param {string} method @param {unknown} params @returns {Promise<any>} */
  async #ask(method, params) {
    this.#lastId += 1;
    const id = this.#lastId;
    /** @type {Promise<Message>} */
    const answer = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#send({ id, method, params });
    const { result, error } = await answer;
    if (error) throw new HostError(error);
    return result;
  }

  /** @param {object} message */
  #send(message) {
    this.#take(Buffer.from(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`));
  }

  /** @param {Message} message */
  #hear(message) {
    const { id, method, params } = message;
    if (method === "log") this.logs.push(params);
    else if (method !== undefined) void this.#serve(id, method, params);
    else {
      this.#waiting.get(Number(id))?.(message);
      this.#waiting.delete(Number(id));
    }
  }

  /** @param {unknown} id @param {string} method @param {any} params */
  async #serve(id, method, params) {
    this.requests.push({ method, params });
    try {
      // Never before the plugin has gone on, as it is with a process.
      await undefined;
      const result = await this.#answer(method, params);
      this.#send({ id, result: result ?? null });
    } catch (error) {
      const { message, code = "host.failed" } = /** @type {any} */ (error);
      this.#send({ id, error: { code: -32000, message, data: { code } } });
    }
  }

  /** @param {string} method @param {any} params @returns {unknown} */
  #answer(method, params) {
    const service = this.#options.services?.[method];
    if (service) return service(params);
    if (method === "clock/now") return { unix_ms: this.clock.now };
    if (method === "step/progress") return this.#save(params);
    if (method.startsWith("state/")) return this.#values.serve(method.slice(6), params);
    if (/^(agent|job)\//.test(method)) return this.#work.serve(method, params);
    if (method.startsWith("db/")) return this.#database(method, params);
    throw refusal("host.method.unknown", `the host has no method ${method}`);
  }

  /** @param {{progress: unknown}} params */
  #save({ progress }) {
    if (this.#step === undefined) throw refusal("step.outside", "there is no data step that could have progress");
    this.progress[this.#step] = progress;
  }

  /** @param {string} method @param {any} params */
  #database(method, params) {
    if (!this.#options.db) throw refusal("db.undeclared", "the plugin has no database; give FakeHost the option `db`");
    if (method === "db/query") return this.#query(params);
    if (method === "db/begin") return this.#begin();
    if (method === "db/fetch") return this.#page(this.#cursors.get(params.cursor), params);
    if (method === "db/close") return void this.#cursors.delete(params.cursor);
    if (!(method in WORDS)) throw refusal("host.method.unknown", `the host has no method ${method}`);
    this.#check(params.tx);
    this.#end(method);
    return null;
  }

  #begin() {
    if (this.#tx !== undefined) throw refusal("store.busy", "another transaction holds the database; try again");
    this.#tx = ++this.#lastOpened;
    this.statements.push({ sql: "BEGIN", params: [] });
    return { tx: this.#tx };
  }

  /** @param {string} method */
  #end(method) {
    if (method === "db/save") this.#depth += 1;
    else if (method === "db/release" || method === "db/undo") {
      if (this.#depth === 0) throw refusal("db.transaction", "there is no savepoint");
      this.#depth -= 1;
    } else {
      this.#tx = undefined;
      this.#depth = 0;
    }
    this.statements.push({ sql: WORDS[method] ?? "", params: [] });
  }

  /** @param {number} tx */
  #check(tx) {
    if (tx !== this.#tx) throw refusal("db.transaction", "there is no such transaction; it ended, or its call did");
  }

  /** @param {any} asked */
  async #query({ sql, params = [], tx, page, max_rows: most }) {
    if (tx !== undefined) this.#check(tx);
    const given = Array.isArray(params)
      ? params.map(fromWire)
      : Object.fromEntries(Object.entries(params).map(([name, value]) => [name, fromWire(value)]));
    this.statements.push({ sql, params: given });
    const said = await this.#options.db?.(sql, given);
    const found = Array.isArray(said) ? said : [];
    if (most !== undefined && found.length > most) {
      throw refusal("db.too_many_rows", `the answer has more than ${most} rows`);
    }
    const names = Object.keys(found[0] ?? {});
    const rows = found.map((row) => names.map((name) => toWire(row[name] ?? null)));
    const columns = names.map((name) => ({ name, type: "any" }));
    const result = { columns, rows, changed: typeof said === "number" ? said : 0 };
    return page === undefined ? result : this.#page(result, { page });
  }

  /** @param {any} result @param {{cursor?: number, page: number}} asked */
  #page(result, { cursor, page }) {
    if (result === undefined) throw refusal("db.transaction", "there is no such cursor; it ended, or its call did");
    if (cursor !== undefined) this.#cursors.delete(cursor);
    const left = result.rows.slice(page);
    const first = { ...result, rows: result.rows.slice(0, page), changed: 0 };
    if (left.length === 0) return first;
    this.#lastOpened += 1;
    this.#cursors.set(this.#lastOpened, { ...result, rows: left });
    return { ...first, cursor: this.#lastOpened };
  }
}

/** The plugin's values and locks, with the host's rules and limits. */
class Values {
  /** @type {Map<string, {value: any, version: number, bytes: number, expires_at_ms?: number}>} */
  #values = new Map();
  /** @type {Map<string, {token: number, until: number}>} */
  #leases = new Map();
  #version = 0;
  #clock;

  /** @param {{now: number}} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  all() {
    return Object.fromEntries(this.#keys().map((key) => [key, this.#values.get(key)?.value]));
  }

  /** @param {string} method @param {any} params */
  serve(method, params) {
    switch (method) {
      case "get":
        return this.#get(params);
      case "set":
        return this.#set(params);
      case "delete":
        return this.#delete(params);
      case "list":
        return this.#list(params);
      case "lock":
        return this.#lock(params);
      case "renew":
        return this.#renew(params);
      case "unlock":
        return this.#unlock(params);
      default:
        throw refusal("host.method.unknown", `the host has no method state/${method}`);
    }
  }

  /** @param {{key: string}} params */
  #get({ key }) {
    const found = this.#living(checkedKey(key));
    if (!found) return {};
    const { bytes, ...shown } = found;
    return shown;
  }

  /** @param {any} params */
  #set(params) {
    const { key, value, ttl_ms: ttl } = params;
    checkedKey(key);
    const bytes = Buffer.byteLength(JSON.stringify(value));
    if (bytes > VALUE_BYTES) {
      throw refusal("state.too_large", `the value of "${key}" has ${bytes} bytes; at most ${VALUE_BYTES} are allowed`);
    }
    if (ttl !== undefined) checkTtl(ttl, MAX_TTL_MS);
    const present = this.#conflict(params);
    if (present !== undefined) return { done: false, version: present };
    this.#version += 1;
    const until = ttl === undefined ? {} : { expires_at_ms: this.#clock.now + ttl };
    this.#values.set(key, { value, version: this.#version, bytes, ...until });
    return { done: true, version: this.#version };
  }

  /** @param {any} params */
  #delete(params) {
    checkedKey(params.key);
    const present = this.#conflict(params);
    if (present !== undefined) return { done: false, version: present };
    const version = this.#living(params.key)?.version ?? 0;
    this.#values.delete(params.key);
    return { done: true, version };
  }

  /** @param {any} params */
  #list({ prefix = "", after, limit = PAGE }) {
    const most = Math.min(limit, PAGE);
    const isNext = (/** @type {string} */ key) => after === undefined || Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0;
    const found = this.#keys().filter((key) => key.startsWith(prefix) && isNext(key));
    const keys = found.slice(0, most).map((key) => {
      const { value, ...shown } = /** @type {any} */ (this.#values.get(key));
      return { key, ...shown };
    });
    return found.length > most ? { keys, after: keys.at(-1)?.key } : { keys };
  }

  /** @param {any} params */
  #lock({ key, ttl_ms: ttl }) {
    checkTtl(ttl, MAX_LEASE_MS);
    const { token, until } = this.#leases.get(checkedKey(key)) ?? { token: 0, until: 0 };
    if (until > this.#clock.now) throw refusal("state.locked", `the lock "${key}" is held`);
    return this.#lease(key, token + 1, ttl);
  }

  /** @param {any} params */
  #renew({ lease, ttl_ms: ttl }) {
    checkTtl(ttl, MAX_LEASE_MS);
    this.#checkHeld(lease);
    return this.#lease(lease.key, lease.token, ttl);
  }

  /** @param {any} params */
  #unlock({ lease }) {
    const held = this.#isHeld(lease);
    // The token stays, so that the next holder's is higher.
    if (held) this.#leases.set(lease.key, { token: lease.token, until: 0 });
    return { held };
  }

  /** @param {string} key @param {number} token @param {number} ttl */
  #lease(key, token, ttl) {
    const until = this.#clock.now + ttl;
    this.#leases.set(key, { token, until });
    return { key, token, until_ms: until };
  }

  /** @param {any} lease */
  #isHeld({ key, token }) {
    const held = this.#leases.get(key);
    return held !== undefined && held.token === token && held.until > this.#clock.now;
  }

  /** @param {any} lease */
  #checkHeld(lease) {
    if (this.#isHeld(lease)) return;
    throw refusal("state.lease_lost", `the lock "${lease.key}" is no longer held under this token; nothing was changed`);
  }

  /** The version that keeps a write from happening, if any. @param {any} params */
  #conflict({ key, if_version: wanted, under }) {
    if (under !== undefined) this.#checkHeld(under);
    const version = this.#living(key)?.version ?? 0;
    return wanted === undefined || wanted === version ? undefined : version;
  }

  /** @param {string} key */
  #living(key) {
    const found = this.#values.get(key);
    if (found?.expires_at_ms === undefined || found.expires_at_ms > this.#clock.now) return found;
    this.#values.delete(key);
    return undefined;
  }

  #keys() {
    const living = [...this.#values.keys()].filter((key) => this.#living(key));
    return living.sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  }
}

/** @param {string} key */
function checkedKey(key) {
  const problem =
    key.trim() === "" ? "is blank" : [...key].length > KEY_CHARS ? `is longer than ${KEY_CHARS} characters` : "";
  if (problem || key.includes("\0")) {
    throw refusal("state.key", `the state key "${key.slice(0, 40)}" ${problem || "holds a NUL character"}`);
  }
  return key;
}

/** @param {number} ttl @param {number} limit */
function checkTtl(ttl, limit) {
  if (ttl >= 1 && ttl <= limit) return;
  throw refusal("state.ttl", `a time of ${ttl} ms is out of bounds; 1 to ${limit} are allowed`);
}
