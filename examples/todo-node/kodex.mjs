// @ts-check
// What a plugin written for Node needs to speak to Kodex: copy this file beside your plugin.
//
// It turns lines of JSON-RPC on standard input into calls of your functions, many at once, and gives
// them the plugin's database and values. It knows nothing about any hook or tool and has no
// dependencies. Do not write to standard output yourself: a stray line there ends the plugin, which is
// why `console.log` is sent to standard error.

import { AsyncLocalStorage } from "node:async_hooks";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** @typedef {import("./kodex.d.ts").Call} Call */
/** @typedef {import("./kodex.d.ts").Handler} Handler */
/** @typedef {import("./kodex.d.ts").Id} Id */
/** @typedef {import("./kodex.d.ts").Message} Message */
/** @typedef {import("./kodex.d.ts").Initialize} Initialize */
/** @typedef {import("./kodex.d.ts").CallParams} CallParams */
/** @typedef {import("./kodex.d.ts").Start} Start */
/** @typedef {import("./kodex.d.ts").Plugin} Plugin */
/** @typedef {import("./kodex.d.ts").StepHandler} StepHandler */
/** @typedef {import("./kodex.d.ts").StepCounts} StepCounts */
/** @typedef {import("./kodex.d.ts").Projection} Projection */
/** @typedef {import("./kodex.d.ts").Params} Params */
/** @typedef {import("./kodex.d.ts").SetOptions} SetOptions */
/** @typedef {import("./kodex.d.ts").Lease} LeaseType */

const CONTRACT_VERSION = 1;
const FEATURES = ["agent", "cancel", "clock", "db", "job", "log", "state", "step"];
const OVER = ["completed", "failed", "cancelled"];
const COUNTERS = ["scanned", "migrated", "existing", "missing", "skipped"];
/** What may succeed when it is done again a little later. */
const RETRYABLE = new Set([
  "agent.queue_full",
  "db.conflict",
  "host.busy",
  "job.queue_full",
  "state.locked",
  "store.busy",
]);
/** How often `update` tries while others change the same value. */
const ATTEMPTS = 100;
const KEYS_AT_ONCE = 1000;
/** The host refuses what is beyond the requests that run there and wait. */
const REQUESTS_AT_ONCE = 256;
/** Up to here every reader of JSON has whole numbers exactly. */
const EXACT = 2n ** 53n;
/** Longer lines the host refuses, and so do we. */
const LINE_BYTES = 1 << 20;
/** Longer ones would go off at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** An answer that went wrong, with the number and the stable code of the contract. */
class WireError extends Error {
  /** @param {number} code @param {string} name @param {string} message */
  constructor(code, name, message) {
    super(message);
    this.code = code;
    this.data = { code: name };
  }
}

/** Throw it in a tool whose input makes no sense; the model sees the text. */
export class Refusal extends WireError {
  /** @param {string} message */
  constructor(message) {
    super(-32001, "tool.input.refused", message);
  }
}

/** What the host answers when it refuses or fails. */
export class HostError extends Error {
  /** @param {{message: string, data?: {code?: string}}} error */
  constructor(error) {
    super(error.message);
    this.code = error.data?.code ?? "internal";
  }

  /** Whether the same may succeed a little later; a transaction begins again from its start. */
  get isRetryable() {
    return RETRYABLE.has(this.code);
  }
}

/** @param {unknown} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value @returns {value is Promise<unknown>} */
const isPromise = (value) => isObject(value) && typeof value.then === "function";

// Values between JavaScript and a database

/** A decimal of any precision, as it stands in the database. `String(n)` and `Number(n)` read it. */
export class Numeric {
  /** @param {string} text */
  constructor(text) {
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw new TypeError(`${text} is no decimal`);
    this.text = text;
  }

  toString() {
    return this.text;
  }

  toJSON() {
    return this.text;
  }
}

/** Marks a parameter as a JSON document; an object is one without it, an array is not. */
export class Json {
  /** @param {unknown} document */
  constructor(document) {
    this.document = document;
  }
}

/** A parameter as the contract has it. @param {unknown} value @returns {unknown} */
export function toWire(value) {
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      return Number.isFinite(value) ? value : { $float: String(value) };
    case "bigint":
      return wholeToWire(value);
    case "object":
      return value === null ? null : objectToWire(value);
    default:
      throw new TypeError(`${typeof value} cannot be sent to a database; null can`);
  }
}

/** @param {bigint} value */
function wholeToWire(value) {
  if (value >= -EXACT && value <= EXACT) return Number(value);
  // Beyond 64 bits there is no integer in any engine, but there are decimals.
  return BigInt.asIntN(64, value) === value ? { $int: String(value) } : { $numeric: String(value) };
}

/** @param {object} value */
function objectToWire(value) {
  if (Array.isArray(value)) return value.map(toWire);
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Numeric) return { $numeric: value.text };
  if (value instanceof Json) return { $json: value.document };
  if (value instanceof ArrayBuffer) return { $bytes: Buffer.from(value).toString("base64") };
  if (ArrayBuffer.isView(value)) {
    return { $bytes: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("base64") };
  }
  const above = Object.getPrototypeOf(value);
  if (above === Object.prototype || above === null) return { $json: value };
  throw new TypeError(`a ${above.constructor?.name} cannot be sent to a database; wrap it in new Json(...)`);
}

/** A value of a row, from the contract. @param {any} value @returns {any} */
export function fromWire(value) {
  if (Array.isArray(value)) return value.map(fromWire);
  if (!isObject(value)) return value;
  if ("$json" in value) return value.$json;
  if ("$int" in value) return BigInt(value.$int);
  if ("$bytes" in value) return new Uint8Array(Buffer.from(value.$bytes, "base64"));
  if ("$float" in value) return Number(value.$float);
  if ("$numeric" in value) return new Numeric(value.$numeric);
  throw new TypeError(`the host sent a value with the unknown tag ${Object.keys(value)[0]}`);
}

/** The rows of a result, and what else the statement said. */
export class Rows extends Array {
  /** @type {string[]} */
  columns = [];
  changed = 0;

  // What is made of them by `map` and its like are arrays like any other.
  static get [Symbol.species]() {
    return Array;
  }
}

/** @param {any} result */
function rowsOf({ columns, rows, changed = 0 }) {
  const found = new Rows();
  found.columns = columns.map((/** @type {{name: string}} */ { name }) => name);
  found.changed = changed;
  for (const values of rows) {
    /** @type {Map<string, unknown>} */
    const fields = new Map();
    for (const [at, name] of found.columns.entries()) {
      // Of two columns of one name the first counts.
      if (!fields.has(name)) fields.set(name, fromWire(values[at]));
    }
    found.push(Object.fromEntries(fields));
  }
  return found;
}

/** @param {Params} params */
function paramsToWire(params) {
  if (Array.isArray(params)) return params.length > 0 ? { params: params.map(toWire) } : {};
  if (!isObject(params)) throw new TypeError("parameters are an array or an object");
  const named = Object.entries(params).map(([name, value]) => [name, toWire(value)]);
  return named.length > 0 ? { params: Object.fromEntries(named) } : {};
}

// Database and values

/** What a call asks its host with: it names the call, and asks nothing more once that is cancelled. */
class Door {
  /** @param {import("./kodex.d.ts").Host} host @param {{call?: Id, cancelled: boolean}} [given] */
  constructor(host, given) {
    this.host = host;
    this.given = given;
  }

  /** @param {string} method @param {Record<string, any>} params */
  async ask(method, params) {
    // What the call has open, the host closes.
    if (this.given?.cancelled) throw cancelled();
    return this.host.request(method, params);
  }

  /** @param {Record<string, any>} params */
  named(params) {
    return typeof this.given?.call === "number" ? { ...params, call: this.given.call } : params;
  }
}

/** @typedef {{ident: number, door: Door, open: boolean, outer: Level | undefined}} Level */

/** The transaction that runs around the present code. @type {AsyncLocalStorage<Level>} */
const around = new AsyncLocalStorage();

/** @param {Promise<unknown>} work */
const quietly = (work) => work.catch(() => {});

/** @implements {Pick<import("./kodex.d.ts").Db, "queryOne">} */
class Db {
  #door;
  #level;

  /** @param {Door} door @param {Level} [level] */
  constructor(door, level) {
    this.#door = door;
    this.#level = level;
  }

  /** @param {string} sql @param {Params} [params] @param {{maxRows?: number}} [options] */
  async query(sql, params = [], { maxRows } = {}) {
    const tx = this.#transaction()?.ident;
    const limits = { ...(tx !== undefined && { tx }), ...(maxRows !== undefined && { max_rows: maxRows }) };
    const asked = this.#door.named({ sql, ...paramsToWire(params), ...limits });
    return rowsOf(await this.#door.ask("db/query", asked));
  }

  /** @param {string} sql @param {Params} [params] */
  async queryOne(sql, params = []) {
    return (await this.query(sql, params, { maxRows: 1 }))[0];
  }

  /** @param {string} sql @param {Params} [params] */
  async execute(sql, params = []) {
    return (await this.query(sql, params)).changed;
  }

  /** @param {string} sql @param {Params} [params] @param {{rows?: number}} [options] */
  async *pages(sql, params = [], { rows: page = 500 } = {}) {
    if (this.#transaction()) {
      const message = "a result cannot be read in pages inside a transaction; use LIMIT with the last key";
      throw new HostError({ message, data: { code: "db.transaction" } });
    }
    const asked = this.#door.named({ sql, ...paramsToWire(params), page });
    let result = await this.#door.ask("db/query", asked);
    let cursor = result.cursor;
    try {
      for (;;) {
        yield* rowsOf(result);
        if (cursor === undefined) return;
        const fetch = { cursor, page };
        // One that failed is closed already.
        cursor = undefined;
        result = await this.#door.ask("db/fetch", fetch);
        cursor = result.cursor;
      }
    } finally {
      if (cursor !== undefined) await quietly(this.#door.ask("db/close", { cursor }));
    }
  }

  /** @param {(tx: any) => unknown} work */
  async transaction(work) {
    const door = this.#door;
    const outer = this.#transaction();
    const ident = outer ? outer.ident : (await door.ask("db/begin", door.named({}))).tx;
    if (outer) await door.ask("db/save", { tx: ident });
    const level = { ident, door, open: true, outer };
    /** @param {string} method */
    const tell = (method) => door.ask(method, { tx: ident });
    try {
      const result = await around.run(level, () => work(new Db(door, level)));
      level.open = false;
      await tell(outer ? "db/release" : "db/commit");
      return result;
    } catch (error) {
      // Also what could not be committed must not stay open until the call is over.
      level.open = false;
      await quietly(tell(outer ? "db/undo" : "db/rollback"));
      throw error;
    }
  }

  /** @returns {Level | undefined} */
  #transaction() {
    if (this.#level) {
      if (this.#level.open) return this.#level;
      throw new Error("the transaction is over; use `tx` only inside its function");
    }
    let level = around.getStore();
    while (level && !(level.open && level.door === this.#door)) level = level.outer;
    return level;
  }
}

/** @param {SetOptions & {version?: number | undefined}} options */
function conditions({ ttlMs, under, version }) {
  return {
    ...(ttlMs !== undefined && { ttl_ms: ttlMs }),
    ...(version !== undefined && { if_version: version }),
    ...(under !== undefined && { under: /** @type {any} */ (under).held }),
  };
}

/** @param {number | undefined} ms */
const dateOf = (ms) => (ms === undefined ? undefined : new Date(ms));

/** A lock that is held. */
class Lease {
  #door;

  /** @param {Door} door @param {{key: string, token: number, until_ms: number}} held */
  constructor(door, held) {
    this.#door = door;
    this.held = held;
  }

  get key() {
    return this.held.key;
  }

  get token() {
    return this.held.token;
  }

  get until() {
    return new Date(this.held.until_ms);
  }

  /** @param {number} ttlMs */
  async renew(ttlMs) {
    this.held = await this.#door.ask("state/renew", { lease: this.held, ttl_ms: ttlMs });
  }
}

class State {
  #door;

  /** @param {Door} door */
  constructor(door) {
    this.#door = door;
  }

  /** @param {string} key */
  async get(key) {
    return (await this.#door.ask("state/get", { key })).value;
  }

  /** @param {string} key */
  async entry(key) {
    const found = await this.#door.ask("state/get", { key });
    if (!("value" in found)) return undefined;
    return { value: found.value, version: found.version, expiresAt: dateOf(found.expires_at_ms) };
  }

  /** @param {string} key @param {unknown} value @param {SetOptions} [options] @returns {Promise<number>} */
  async set(key, value, options = {}) {
    return (await this.#write(key, value, options)).version;
  }

  /** @param {string} key @param {unknown} value @param {SetOptions} [options] */
  setIfAbsent(key, value, options = {}) {
    return this.compareAndSwap(key, value, { ...options, version: 0 });
  }

  /**
   * @param {string} key @param {unknown} value @param {SetOptions & {version: number}} options
   * @returns {Promise<boolean>}
   */
  async compareAndSwap(key, value, options) {
    // A version in the place of the options would be a write without a condition.
    if (!Number.isInteger(options?.version)) throw new TypeError("compareAndSwap needs { version }, a whole number");
    return (await this.#write(key, value, options)).done;
  }

  /** @param {string} key @param {(value: any) => unknown} change @param {{ttlMs?: number}} [options] */
  async update(key, change, options = {}) {
    for (let n = 0; n < ATTEMPTS; n += 1) {
      const found = await this.entry(key);
      const value = await change(found?.value);
      if (await this.compareAndSwap(key, value, { ...options, version: found?.version ?? 0 })) return value;
    }
    const message = `the value of "${key}" was changed by others ${ATTEMPTS} times`;
    throw new HostError({ message, data: { code: "state.contended" } });
  }

  /** @param {string} key @param {{version?: number, under?: LeaseType}} [options] */
  async delete(key, options = {}) {
    const { done, version } = await this.#door.ask("state/delete", { key, ...conditions(options) });
    return done && version > 0;
  }

  /** @param {string} [prefix] */
  async *list(prefix = "") {
    let after;
    do {
      const asked = { prefix, limit: KEYS_AT_ONCE, ...(after !== undefined && { after }) };
      /** @type {any} */
      const page = await this.#door.ask("state/list", asked);
      for (const { key, version, bytes, expires_at_ms: ms } of page.keys) {
        yield { key, version, bytes, expiresAt: dateOf(ms) };
      }
      after = page.after;
    } while (after !== undefined);
  }

  /** @param {string} key @param {{ttlMs?: number}} options @param {(lease: any) => unknown} work */
  async lock(key, { ttlMs = 30_000 }, work) {
    const lease = new Lease(this.#door, await this.#door.ask("state/lock", { key, ttl_ms: ttlMs }));
    let result;
    try {
      result = await work(lease);
    } catch (error) {
      await quietly(this.#door.ask("state/unlock", { lease: lease.held }));
      throw error;
    }
    await this.#door.ask("state/unlock", { lease: lease.held });
    return result;
  }

  /** @param {string} key @param {unknown} value @param {SetOptions & {version?: number}} options */
  #write(key, value, options) {
    if (value === undefined) throw new TypeError("undefined is no value; use delete, or set null");
    return this.#door.ask("state/set", { key, value, ...conditions(options) });
  }
}

// Work that outlives a call

/** @typedef {{ticket: number, nStarted: number}} Ticketed */

/** @param {number | undefined} ticket @param {string} what */
function checkedTicket(ticket, what) {
  if (ticket !== undefined) return ticket;
  throw new TypeError(`${what}: use what its handler is given, or pass \`ticket\``);
}

/** @param {any} answer */
const acceptedOf = ({ id, status }) => ({ id, isNew: status === "created" });

/** What runs and jobs have in common. */
class Works {
  #door;
  #family;

  /** @param {Door} door @param {"agent" | "job"} family */
  constructor(door, family) {
    this.#door = door;
    this.#family = family;
  }

  /** @param {string} id @returns {Promise<Projection | undefined>} */
  async find(id) {
    const { id: found, status, result_at_ms: ms, error } = await this.#door.ask(`${this.#family}/get`, { id });
    if (found === undefined) return undefined;
    return { id: found, status, isOver: OVER.includes(status), resultAt: dateOf(ms), error };
  }

  /** @param {string} id @returns {Promise<boolean>} */
  async cancel(id) {
    return (await this.#door.ask(`${this.#family}/cancel`, { id })).done;
  }
}

class Agent extends Works {
  #door;
  #call;

  /** @param {Door} door @param {Ticketed} [call] */
  constructor(door, call) {
    super(door, "agent");
    this.#door = door;
    this.#call = call;
  }

  /** @param {import("./kodex.d.ts").RunWish} wish */
  async dispatch({ key, to, ticket = this.#call?.ticket, ...more }) {
    checkedTicket(ticket, "an agent run is asked for in a heartbeat or a job");
    const asked = { ticket, idempotency_key: key, destination: to, ...more };
    const accepted = acceptedOf(await this.#door.ask("agent/dispatch", asked));
    if (accepted.isNew && this.#call) this.#call.nStarted += 1;
    return accepted;
  }
}

class Jobs extends Works {
  #door;
  #call;

  /** @param {Door} door @param {Ticketed} [call] */
  constructor(door, call) {
    super(door, "job");
    this.#door = door;
    this.#call = call;
  }

  /** @param {string} name @param {unknown} [params] @param {import("./kodex.d.ts").JobOptions} [options] */
  async enqueue(name, params, { delayMs, maxAttempts, ...more } = {}) {
    const asked = { name, params, delay_ms: delayMs, max_attempts: maxAttempts, ...more };
    return acceptedOf(await this.#door.ask("job/enqueue", asked));
  }

  /** @param {string} key @param {unknown} [value] @param {{ticket?: number | undefined}} [options] */
  async effect(key, value = null, { ticket = this.#call?.ticket } = {}) {
    checkedTicket(ticket, "an effect is recorded in a job");
    const { first, value: known = null } = await this.#door.ask("job/effect", { ticket, key, value });
    return { first, value: known };
  }
}

const cancelled = () => new WireError(-32002, "call.cancelled", "the call was cancelled");

/** What a handler is given besides the payload. @implements {Call} */
class Given {
  cancelled = false;
  /** @type {AbortController | undefined} */
  #controller;
  /** @type {((error: Error) => void) | undefined} */
  #giveUp;
  /** @type {Door | undefined} */
  #door;

  /** @param {import("./kodex.d.ts").Host} host @param {CallParams} params @param {Id} call */
  constructor(host, { timeout_ms: timeout, caller }, call) {
    this.host = host;
    this.caller = caller;
    this.timeout = timeout;
    this.call = call;
    this.dueAt = Date.now() + timeout;
  }

  /** One for all that the call asks, by which its transactions know each other. */
  get ownDoor() {
    return (this.#door ??= new Door(this.host, this));
  }

  get db() {
    return /** @type {any} */ (new Db(this.ownDoor));
  }

  get state() {
    return /** @type {any} */ (new State(this.ownDoor));
  }

  get agent() {
    return new Agent(this.ownDoor);
  }

  get jobs() {
    return new Jobs(this.ownDoor);
  }

  /** @param {unknown} reply @returns {object} */
  result(reply) {
    return reply === undefined ? {} : { reply };
  }

  get deadline() {
    return new Date(this.dueAt);
  }

  /** Made at the first look: it costs more than all else, and most handlers never look. */
  get signal() {
    this.#controller ??= new AbortController();
    if (this.cancelled) this.#controller.abort();
    return this.#controller.signal;
  }

  cancel() {
    this.cancelled = true;
    this.#controller?.abort();
    this.#giveUp?.(cancelled());
  }

  /**
   * The host wants its answer as soon as it cancels. A function that does not watch the signal may
   * run on, but nobody hears from it any more.
   *
   * @param {Promise<unknown>} work
   */
  orCancelled(work) {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.cancel(), Math.min(this.timeout, LONGEST_TIMER));
      this.#giveUp = reject;
      work.then(resolve, reject).finally(() => clearTimeout(timer));
    });
  }
}

/** What a data step is given. */
class Step extends Given {
  /** @type {StepCounts} */
  counts = {};

  /** @param {import("./kodex.d.ts").Host} host @param {CallParams} params @param {Id} call */
  constructor(host, params, call) {
    super(host, params, call);
    this.progress = isObject(params.payload) ? params.payload.progress : null;
  }

  /** @override @param {unknown} reply */
  result(reply) {
    return { reply: reply === undefined ? this.counts : checkedCounts(reply) };
  }

  /** @param {unknown} progress @param {StepCounts} [counts] */
  async save(progress, counts) {
    if (progress === undefined) throw new TypeError("undefined is no progress; null is");
    /** @type {any} */
    const asked = { progress, ...(counts && { counts: checkedCounts(counts) }) };
    this.counts = counts ?? {};
    if (this.cancelled) throw cancelled();
    await this.host.request("step/progress", asked);
    this.progress = progress;
  }
}

/** What the handlers of heartbeats and jobs are given: doors that carry the ticket of the call. */
class WithTicket extends Given {
  nStarted = 0;

  /** @param {import("./kodex.d.ts").Host} host @param {CallParams} params @param {Id} call */
  constructor(host, params, call) {
    super(host, params, call);
    this.payload = isObject(params.payload) ? params.payload : {};
    this.ticket = Number(this.payload.ticket ?? 0);
  }

  /** @override */
  get agent() {
    return new Agent(this.ownDoor, this);
  }

  /** @override */
  get jobs() {
    return new Jobs(this.ownDoor, this);
  }
}

class Beat extends WithTicket {
  get now() {
    return new Date(this.payload.now_unix_ms);
  }

  /** @override @param {unknown} reply */
  result(reply) {
    if (reply === undefined) return this.nStarted > 0 ? { reply: { n_started: this.nStarted } } : {};
    if (!isObject(reply)) throw new TypeError("a heartbeat returns nothing, or its reply as an object");
    return { reply };
  }
}

class Job extends WithTicket {
  /** @param {import("./kodex.d.ts").Host} host @param {CallParams} params @param {Id} call */
  constructor(host, params, call) {
    super(host, params, call);
    const { id = "", params: own = null, attempt = 1, session } = this.payload;
    Object.assign(this, { id, params: own, attempt, session });
  }

  /** @param {string} key @param {unknown} [value] */
  effect(key, value) {
    return this.jobs.effect(key, value);
  }
}

/** @param {unknown} counts @returns {StepCounts} */
function checkedCounts(counts) {
  if (!isObject(counts)) throw new TypeError("a step returns its counters as an object, or nothing");
  for (const [name, count] of Object.entries(counts)) {
    if (!COUNTERS.includes(name)) throw new TypeError(`a step has no counter "${name}"; there are ${COUNTERS.join(", ")}`);
    if (!Number.isSafeInteger(count) || count < 0) throw new TypeError(`the counter "${name}" is a whole number from 0 up`);
  }
  return counts;
}

/** @param {unknown} error */
function errorObject(error) {
  if (error instanceof WireError) {
    return { code: error.code, message: error.message, data: error.data };
  }
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: "" };
  return { code: -32000, message, data: { code: "plugin.raised", traceback: stack } };
}

/** Half of a pair that stands alone: JSON.stringify writes it, and most other languages refuse it. */
const LONE_SURROGATE = /(?<!\\)(?:\\\\)*\\ud[89a-f]/;

/** @param {Record<string, unknown>} message */
function lineOf(message) {
  const line = `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`;
  if (Buffer.byteLength(line) > LINE_BYTES) {
    throw new WireError(-32000, "plugin.reply.too_large", `the reply has more than ${LINE_BYTES} bytes`);
  }
  if (LONE_SURROGATE.test(line)) {
    throw new WireError(-32000, "plugin.reply.invalid", "the reply holds half of a surrogate pair");
  }
  return line;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Cuts chunks into lines; gives null for one that is too long, which it does not keep. Not
 * node:readline, which also ends a line at U+2028, and that may stand inside a text of JSON.
 *
 * @param {(line: Buffer | null) => void} receive @returns {(chunk: Buffer) => void}
 */
function linesTo(receive) {
  /** @type {Buffer[]} */
  let parts = [];
  let length = 0;
  /** @param {Buffer} part */
  const keep = (part) => {
    length += part.length;
    if (length <= LINE_BYTES) parts.push(part);
    else parts = [];
  };
  return (chunk) => {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      keep(chunk.subarray(from, end));
      from = end + 1;
      const line = parts.length === 1 ? parts[0] : Buffer.concat(parts);
      receive(length <= LINE_BYTES ? (line ?? null) : null);
      parts = [];
      length = 0;
    }
    keep(chunk.subarray(from));
  };
}

const KEYS = ["jsonrpc", "id", "method", "params", "result", "error"];

/** @param {unknown} value @returns {value is Message} */
function isMessage(value) {
  if (!isObject(value) || value.jsonrpc !== "2.0") return false;
  const { id, method } = value;
  if (!(id === undefined || id === null || isId(id))) return false;
  const answers = Number("result" in value) + Number("error" in value);
  const fits = "method" in value ? typeof method === "string" && answers === 0 : answers === 1 && isId(id);
  return fits && Object.keys(value).every((key) => KEYS.includes(key));
}

/** @param {unknown} id @returns {id is Id} */
const isId = (id) =>
  typeof id === "string" ? Buffer.byteLength(id) <= 64 : Number.isInteger(id) && Number(id) >= 0;

/** @param {import("./kodex.d.ts").Identity} identity @returns {Plugin} */
export function createPlugin({ name, version }) {
  /** What answers, and what it is given. @type {Map<string, {run: Function, form: typeof Given}>} */
  const handlers = new Map();
  /** The calls that run, by the host's id. @type {Map<Id, Given>} */
  const running = new Map();
  /** The questions that the host has yet to answer. @type {Map<Id, (answer: Message) => void>} */
  const asked = new Map();
  /** Those that it has no room for yet. @type {(() => void)[]} */
  const waiting = [];
  /** @type {Start} */
  let start = () => {};
  let state = "new";
  let lastId = 0;

  /** @type {(line: string) => unknown} */
  let write = () => {};
  let exit = () => {};

  /** @param {Record<string, unknown>} message */
  const send = (message) => {
    write(lineOf(message));
  };

  /** @type {import("./kodex.d.ts").Host} */
  const host = {
    log: (level, message, fields = {}) => send({ method: "log", params: { level, message, fields } }),
    request: (method, params = {}) =>
      new Promise((resolve, reject) => {
        const id = ++lastId;
        const line = lineOf({ id, method, params });
        const go = () => {
          asked.set(id, ({ result, error }) => (error ? reject(new HostError(error)) : resolve(result)));
          write(line);
        };
        if (asked.size < REQUESTS_AT_ONCE) go();
        else waiting.push(go);
      }),
    now: async () => new Date((await host.request("clock/now")).unix_ms),
  };

  /** @param {Initialize} params */
  async function initialize(params) {
    if (!isObject(params) || !isObject(params.contract)) {
      throw new WireError(-32602, "params.invalid", "the handshake needs contract and plugin");
    }
    const { contract, context = {}, grants = [], plugin } = params;
    if (state !== "new") throw new WireError(-32600, "wire.initialized", "the handshake was already made");
    if (contract.version !== CONTRACT_VERSION) {
      throw new WireError(-32602, "contract.version.unsupported", `${name} speaks contract version ${CONTRACT_VERSION}`);
    }
    if (plugin !== name) {
      throw new WireError(-32602, "plugin.name.different", `this is ${name}, not ${plugin}`);
    }
    state = "starting";
    try {
      const door = new Door(host);
      const works = { agent: new Agent(door), jobs: new Jobs(door) };
      const doors = /** @type {any} */ ({ db: new Db(door), state: new State(door), ...works });
      await start({ context, grants, host, ...doors });
      state = "ready";
    } finally {
      if (state !== "ready") state = "new";
    }
    const features = FEATURES.filter((feature) => contract.features?.includes(feature));
    return { contract: { version: CONTRACT_VERSION, features }, plugin: { name, version } };
  }

  /** @param {CallParams} params */
  function handlerOf(params) {
    if (state !== "ready") throw new WireError(-32003, "not_initialized", "the handshake comes first");
    const { kind, name: called, timeout_ms: timeout } = isObject(params) ? params : Object();
    const fits = ["hook", "tool", "step"].includes(kind) && typeof called === "string" && "payload" in params;
    if (!fits || !Number.isFinite(timeout)) {
      throw new WireError(-32602, "params.invalid", "a call needs kind, name, payload and timeout_ms");
    }
    const handler = handlers.get(`${kind} ${called}`);
    if (!handler) throw new WireError(-32601, "method.unknown", `${name} has no ${kind} "${called}"`);
    return handler;
  }

  /** @param {Id} id @param {CallParams} params */
  async function call(id, params) {
    const { run, form } = handlerOf(params);
    const given = new form(host, params, id);
    running.set(id, given);
    try {
      // The next line may already take the call back.
      await undefined;
      if (given.cancelled) throw cancelled();
      const work = form === Given ? run(params.payload, given) : run(given);
      return given.result(isPromise(work) ? await given.orCancelled(work) : work);
    } finally {
      running.delete(id);
    }
  }

  /** @param {Id} id @param {Message} message */
  async function answer(id, { method, params }) {
    try {
      if (method === "initialize") send({ id, result: await initialize(params) });
      else if (method === "call") send({ id, result: await call(id, params) });
      else if (method === "shutdown") shutdown(id);
      else throw new WireError(-32601, "method.unknown", `${name} has no method "${method}"`);
    } catch (error) {
      send({ id, error: errorObject(error) });
    }
  }

  /** @param {Id} id */
  function shutdown(id) {
    for (const given of running.values()) given.cancel();
    // The cancelled calls answer first; the host closes our input after it read this answer.
    setImmediate(() => {
      send({ id, result: null });
      exit();
    });
  }

  /** @param {Buffer | null} line */
  function receive(line) {
    if (line === null) {
      const error = new WireError(-32700, "wire.frame.too_long", `the line has more than ${LINE_BYTES} bytes`);
      return send({ id: null, error: errorObject(error) });
    }
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(utf8.decode(line));
    } catch (error) {
      const text = `the line is no JSON: ${error instanceof Error ? error.message : error}`;
      return send({ id: null, error: errorObject(new WireError(-32700, "wire.frame.syntax", text)) });
    }
    if (!isMessage(message)) {
      const error = new WireError(-32600, "wire.frame.envelope", "the line is no message of JSON-RPC 2.0");
      return send({ id: null, error: errorObject(error) });
    }
    const { id, method, params } = message;
    if (method === undefined) answered(message);
    else if (id !== undefined && id !== null) void answer(id, message);
    else if (method === "$/cancel") running.get(params?.id)?.cancel();
  }

  /** @param {Message} message */
  function answered(message) {
    const id = message.id ?? "";
    asked.get(id)?.(message);
    if (asked.delete(id)) waiting.shift()?.();
  }

  /** @type {Plugin} */
  const plugin = {
    identity: { name, version },
    activate(fn) {
      start = fn;
      return plugin;
    },
    hook(on, fn) {
      handlers.set(`hook ${on}`, { run: fn, form: Given });
      return plugin;
    },
    tool(called, fn) {
      handlers.set(`tool ${called}`, { run: fn, form: Given });
      return plugin;
    },
    step(called, fn) {
      if (!/^\d{4}_[a-z0-9_]+$/.test(called)) {
        throw new TypeError(`a step is named like its file, as in "0003_backfill", not "${called}"`);
      }
      handlers.set(`step ${called}`, { run: fn, form: Step });
      return plugin;
    },
    heartbeat(fn) {
      handlers.set("hook heartbeat", { run: fn, form: Beat });
      return plugin;
    },
    job(called, fn) {
      if (!/^[a-z0-9._-]{1,128}$/.test(called)) {
        const form = "lower-case letters, digits, dots, hyphens and underscores, at most 128";
        throw new TypeError(`"${called}" is no name for a job: ${form}`);
      }
      handlers.set(`hook job.${called}`, { run: fn, form: Job });
      return plugin;
    },
    connect(ends) {
      write = ends.write;
      exit = ends.exit ?? (() => {});
      return linesTo(receive);
    },
    run(url) {
      if (url !== undefined && !isProgram(url)) return plugin;
      console.log = console.info = console.debug = console.error;
      const stdout = process.stdout;
      const take = plugin.connect({ write: (line) => stdout.write(line), exit: () => process.exit(0) });
      process.stdin.on("data", take);
      process.stdin.on("end", () => process.exit(0));
      // The host is gone; there is nobody to tell.
      stdout.on("error", () => process.exit(1));
      return plugin;
    },
  };
  return plugin;
}

/** Whether a module is what `node` was started with. @param {string} url */
function isProgram(url) {
  try {
    return realpathSync(process.argv[1] ?? "") === realpathSync(fileURLToPath(url));
  } catch {
    return false;
  }
}
