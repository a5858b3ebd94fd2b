// @ts-check
// Runs and jobs behind the fake host: the methods `agent/*` and `job/*` with a host's rules.
//
// No agent is run: the test says how a run ends. Jobs are run when the test says so.

import { createHash } from "node:crypto";

import { HostError } from "./kodex.mjs";

const KEY = 512;
const INPUT = 32_000;
const N_METADATA = 20;
const METADATA_KEY = 128;
const METADATA_VALUE = 512;
const ADDRESS = 512;
const ATTRIBUTION = 160;
const N_DISPATCHES = 25;
const PAYLOAD_BYTES = 256 << 10;
const N_WAITING = 10_000;
const ATTEMPTS = 5;
const MAX_DELAY_MS = 10 * 366 * 86_400_000;
/** Before the second, third, ... attempt; the last one holds for all further. */
const PAUSES_MS = [1_000, 5_000, 30_000, 120_000, 600_000];
const OVER = ["completed", "failed", "cancelled"];
const HURRY = ["urgent", "normal", "low"];
const BREAK = /[\n\r\u0085\u2028\u2029]/;
const ASKED = "somebody asked for its end";

/** The fields of each method: `!` must be there, `?` may be null too. @type {Record<string, Record<string, string>>} */
const FIELDS = {
  "agent/dispatch": {
    ticket: "number!",
    idempotency_key: "string!",
    destination: "place!",
    input: "string!",
    metadata: "texts",
    source: "place?",
    visibility: "private|public",
    subject: "subject?",
    attribution: "string?",
  },
  "job/enqueue": {
    name: "string!",
    params: "any",
    key: "string?",
    delay_ms: "number",
    priority: "urgent|normal|low",
    lane: "string?",
    max_attempts: "number?",
  },
  "job/effect": { ticket: "number!", key: "string!", value: "any" },
  place: { kind: "string!", address: "string!" },
  subject: { user: "string!", task: "string?" },
};
const BY_ID = { id: "string!" };

/** @param {string} code @param {string} message */
const refusal = (code, message) => new HostError({ message, data: { code } });

/** @param {string} kind @param {string[]} parts */
const idOf = (kind, ...parts) =>
  `${kind}_${createHash("sha256").update(parts.join("\0")).digest("hex").slice(0, 32)}`;

/** An agent run that the plugin asked for. The test says how it went. */
export class FakeRun {
  status = "pending";
  /** @type {string | undefined} */
  error;
  /** @type {number | undefined} */
  resultAtMs;
  #clock;

  /** @param {string} id @param {any} asked @param {{now: number}} clock */
  constructor(id, asked, clock) {
    this.id = id;
    this.key = asked.idempotency_key;
    this.destination = asked.destination;
    this.input = asked.input;
    this.metadata = asked.metadata ?? {};
    this.source = asked.source ?? asked.destination;
    this.visibility = asked.visibility ?? "private";
    this.subject = asked.subject ?? undefined;
    this.attribution = asked.attribution ?? undefined;
    this.#clock = clock;
  }

  complete() {
    this.#end("completed");
    this.resultAtMs = this.#clock.now;
  }

  /** @param {string} error */
  fail(error) {
    this.#end("failed", error);
  }

  /** @param {string} reason */
  block(reason) {
    this.#end("blocked", reason);
  }

  /** @param {string} status @param {string} [error] */
  #end(status, error) {
    this.status = status;
    this.error = error;
  }
}

/** A job of the plugin. */
export class FakeJob {
  attempt = 0;
  status = "pending";
  /** @type {string | undefined} */
  error;
  /** @type {any} */
  result;
  /** @type {number | undefined} */
  resultAtMs;
  /** @type {Record<string, any>} */
  effects = {};
  isWanted = true;

  /** @param {string} id @param {any} asked @param {{now: number}} clock */
  constructor(id, asked, clock) {
    this.id = id;
    this.name = asked.name;
    this.params = asked.params ?? null;
    this.key = asked.key ?? undefined;
    this.lane = asked.lane ?? undefined;
    this.priority = asked.priority ?? "normal";
    this.maxAttempts = asked.max_attempts ?? ATTEMPTS;
    this.dueAt = clock.now + (asked.delay_ms ?? 0);
  }
}

/** One plugin's runs and jobs, on a clock that is moved by hand. */
export class FakeWork {
  /** @type {Map<string, FakeRun>} */
  runs = new Map();
  /** @type {Map<string, FakeJob>} */
  jobs = new Map();
  #plugin;
  #clock;
  #destinations;
  #names;
  /** @type {Map<number, {job: FakeJob | undefined, nDispatches: number}>} */
  #tickets = new Map();
  #lastTicket = 0;
  #nMade = 0;

  /** @param {string} plugin @param {{now: number}} clock @param {{destinations?: string[], jobs?: string[]}} options */
  constructor(plugin, clock, { destinations = ["session", "file", "webhook", "command"], jobs }) {
    this.#plugin = plugin;
    this.#clock = clock;
    this.#destinations = destinations;
    this.#names = jobs;
  }

  /** A ticket for a heartbeat or a job. @param {FakeJob} [job] */
  issue(job) {
    this.#tickets.set(++this.#lastTicket, { job, nDispatches: 0 });
    return this.#lastTicket;
  }

  /** @param {number} ticket */
  end(ticket) {
    this.#tickets.delete(ticket);
  }

  /** @param {string} method @param {any} params */
  serve(method, params) {
    const problem = misfit(params, FIELDS[method] ?? BY_ID);
    if (problem) throw refusal("params.invalid", `the parameters of ${method} do not fit: ${problem}`);
    switch (method) {
      case "agent/dispatch":
        return this.#dispatch(params);
      case "agent/get":
        return this.#project(this.runs.get(params.id));
      case "agent/cancel":
        return this.#cancel(this.runs.get(params.id));
      case "job/enqueue":
        return this.#enqueue(params);
      case "job/get":
        return this.#project(this.jobs.get(params.id));
      case "job/cancel":
        return this.#cancel(this.jobs.get(params.id));
      case "job/effect":
        return this.#effect(params);
      default:
        throw refusal("host.method.unknown", `the host has no method ${method}`);
    }
  }

  /** Adds a job past the wire. @param {string} name @param {unknown} params */
  add(name, params) {
    const job = new FakeJob(this.#newId(), { name, params }, this.#clock);
    this.jobs.set(job.id, job);
    return job;
  }

  /** The job whose turn it is. */
  due() {
    const due = [...this.jobs.values()].filter((job) => job.status === "pending" && job.dueAt <= this.#clock.now);
    const rank = (/** @type {FakeJob} */ job) => HURRY.indexOf(job.priority);
    return due.sort((one, other) => rank(one) - rank(other) || one.dueAt - other.dueAt)[0];
  }

  /** Begins an attempt; gives its payload. @param {FakeJob} job @param {object} [session] */
  begin(job, session) {
    job.status = "running";
    job.attempt += 1;
    const { id, params, attempt } = job;
    return { id, params, attempt, ticket: this.issue(job), ...(session && { session }) };
  }

  /** @param {FakeJob} job @param {unknown} result */
  succeed(job, result) {
    Object.assign(job, { status: "completed", result, error: undefined, resultAtMs: this.#clock.now });
  }

  /** @param {FakeJob} job @param {Error} error */
  fail(job, error) {
    job.error = error.message;
    if (!job.isWanted) Object.assign(job, { status: "cancelled", error: ASKED });
    else if (job.attempt >= job.maxAttempts) job.status = "failed";
    else {
      job.status = "pending";
      job.dueAt = this.#clock.now + Number(PAUSES_MS[job.attempt - 1] ?? PAUSES_MS.at(-1));
    }
  }

  #newId() {
    this.#nMade += 1;
    return `job_${this.#nMade.toString(16).padStart(32, "0")}`;
  }

  /** @param {any} asked */
  #dispatch(asked) {
    const ticket = this.#ticket(asked);
    this.#refuse("agent run", runRules(asked, this.#destinations), "agent.invalid");
    this.#checkRoom(this.runs, "agent.queue_full");
    if (ticket.nDispatches >= N_DISPATCHES) {
      throw this.#error("agent.too_many", `asked for ${N_DISPATCHES} agent runs in one call, the most there may be`);
    }
    ticket.nDispatches += 1;
    const id = idOf("run", this.#plugin, asked.idempotency_key);
    return this.#accept(this.runs, id, () => new FakeRun(id, asked, this.#clock));
  }

  /** @param {any} asked */
  #enqueue(asked) {
    this.#refuse("job", jobRules(asked), "job.invalid");
    if (this.#names && !this.#names.includes(asked.name)) {
      throw this.#error("job.unknown", `has no job "${asked.name}"; subscribe to the hook job.${asked.name}`);
    }
    this.#checkRoom(this.jobs, "job.queue_full");
    if (bytesOf({ params: asked.params ?? null }) > PAYLOAD_BYTES) {
      throw this.#error("job.invalid", `the job has more than ${PAYLOAD_BYTES} bytes; nothing was stored`);
    }
    const { name, key } = asked;
    const id = typeof key === "string" ? idOf("job", this.#plugin, name, key) : this.#newId();
    return this.#accept(this.jobs, id, () => new FakeJob(id, asked, this.#clock));
  }

  /** @param {any} asked */
  #effect(asked) {
    const { job } = this.#ticket(asked);
    if (!job) throw this.#error("ticket.no_job", "effects are recorded in jobs, and this is a heartbeat");
    const { key, value = null } = asked;
    if (textRule(key, KEY) || bytesOf(value) > PAYLOAD_BYTES) {
      const rule = `an effect has a key of 1 to ${KEY} characters and a value of at most ${PAYLOAD_BYTES} bytes`;
      throw this.#error("job.invalid", `${rule}; nothing was recorded`);
    }
    const first = !Object.hasOwn(job.effects, key);
    if (first) job.effects[key] = value;
    return { first, value: job.effects[key] };
  }

  /** @template T @param {Map<string, T>} among @param {string} id @param {() => T} make */
  #accept(among, id, make) {
    if (among.has(id)) return { id, status: "already_exists" };
    among.set(id, make());
    return { id, status: "created" };
  }

  /** @param {FakeRun | FakeJob | undefined} found */
  #project(found) {
    if (!found) return {};
    const { id, status, error, resultAtMs } = found;
    const hasFailed = ["failed", "blocked", "cancelled"].includes(status) && error !== undefined;
    return { id, status, ...(status === "completed" && { result_at_ms: resultAtMs }), ...(hasFailed && { error }) };
  }

  /** @param {FakeRun | FakeJob | undefined} found */
  #cancel(found) {
    if (found instanceof FakeJob && found.status === "running") found.isWanted = false;
    else if (found && !OVER.includes(found.status)) Object.assign(found, { status: "cancelled", error: ASKED });
    return { done: found !== undefined };
  }

  /** @param {{ticket: number}} asked */
  #ticket({ ticket }) {
    const open = this.#tickets.get(ticket);
    if (open) return open;
    throw this.#error("ticket.ended", `the heartbeat or job with ticket ${ticket} is over; nothing was stored`);
  }

  /** @param {Map<string, {status: string}>} among @param {string} code */
  #checkRoom(among, code) {
    const n = [...among.values()].filter(({ status }) => !OVER.includes(status)).length;
    if (n >= N_WAITING) throw this.#error(code, `${n} are unfinished, as many as there may be`);
  }

  /** @param {string} what @param {Iterable<[string, string]>} rules @param {string} code */
  #refuse(what, rules, code) {
    for (const [field, rule] of rules) {
      if (rule) throw this.#error(code, `the ${what}'s ${field} ${rule}; nothing was stored`);
    }
  }

  /** @param {string} code @param {string} problem */
  #error(code, problem) {
    return refusal(code, `plugin ${this.#plugin}: ${problem}`);
  }
}

/** @param {unknown} value */
const bytesOf = (value) => Buffer.byteLength(JSON.stringify(value));

/** @param {unknown} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Why parameters do not fit their fields. @param {unknown} given @param {Record<string, string>} fields @returns {string} */
function misfit(given, fields) {
  if (!isObject(given)) return "an object was expected";
  for (const [field, form] of Object.entries(fields)) {
    if (form.endsWith("!") && !(field in given)) return `${field} is missing`;
  }
  for (const [field, value] of Object.entries(given)) {
    const form = Object.hasOwn(fields, field) ? fields[field] : undefined;
    if (form === undefined) return `there is no field ${field}`;
    if ((value === null && form.endsWith("?")) || fits(value, form.replace(/[!?]$/, ""))) continue;
    return `${field} has the wrong kind`;
  }
  return "";
}

/** @param {any} value @param {string} form */
function fits(value, form) {
  const inner = FIELDS[form];
  if (inner) return misfit(value, inner) === "";
  if (form === "any") return true;
  if (form === "number") return Number.isSafeInteger(value) && value >= 0;
  if (form === "string") return typeof value === "string";
  if (form === "texts") return isObject(value) && Object.values(value).every((text) => typeof text === "string");
  return form.split("|").includes(value);
}

/** @param {string} text @param {number} limit */
function lengthRule(text, limit) {
  if (text.includes("\0")) return "holds a NUL character";
  const n = [...text].length;
  return n > limit ? `has ${n} characters; at most ${limit} are allowed` : "";
}

/** @param {string} text @param {number} limit */
const valueRule = (text, limit) => (BREAK.test(text) ? "has a line break" : lengthRule(text, limit));
/** @param {string} text @param {number} limit */
const textRule = (text, limit) => (text.trim() === "" ? "is blank" : lengthRule(text, limit));
/** @param {string} text @param {number} limit */
const lineRule = (text, limit) => (text.trim() === "" ? "is blank" : valueRule(text, limit));

/** @param {any} asked @param {string[]} kinds @returns {Generator<[string, string]>} */
function* runRules(asked, kinds) {
  const { metadata = {}, source, attribution, subject } = asked;
  yield ["idempotency_key", textRule(asked.idempotency_key, KEY)];
  yield ["input", textRule(asked.input, INPUT)];
  yield* placeRules("destination", asked.destination, kinds);
  if (source) yield* placeRules("source", source);
  const entries = Object.entries(metadata);
  if (entries.length > N_METADATA) {
    yield ["metadata", `has ${entries.length} entries; at most ${N_METADATA} are kept`];
  }
  for (const [key, value] of entries) {
    const rule = lineRule(key, METADATA_KEY);
    yield ["metadata", rule && `has a key that ${rule}`];
    yield [`metadata.${key}`, valueRule(value, METADATA_VALUE)];
  }
  if (typeof attribution === "string") yield ["attribution", lineRule(attribution, ATTRIBUTION)];
  if (subject) yield ["subject", subjectRule(asked)];
}

/** @param {string} field @param {any} place @param {string[]} [kinds] @returns {Generator<[string, string]>} */
function* placeRules(field, { kind, address }, kinds) {
  if (!/^[a-z0-9-]{1,40}$/.test(kind)) {
    yield [`${field}.kind`, "is no name: lower-case letters, digits and hyphens, at most 40"];
  }
  if (kinds && !kinds.includes(kind)) {
    yield [`${field}.kind`, `"${kind}" is unknown here; known are ${kinds.join(", ")}`];
  }
  yield [`${field}.address`, lineRule(address, ADDRESS)];
}

/** @param {any} asked */
function subjectRule({ subject, destination, visibility = "private" }) {
  for (const field of ["user", "task"]) {
    const rule = typeof subject[field] === "string" ? lineRule(subject[field], ADDRESS) : "";
    if (rule) return `has a ${field} that ${rule}`;
  }
  const isOwn = destination.kind === "session" && visibility === "private";
  return isOwn ? "" : "is allowed for a private destination of kind `session` alone";
}

/** @param {any} asked @returns {Generator<[string, string]>} */
function* jobRules(asked) {
  const { name, delay_ms: delay = 0, max_attempts: attempts } = asked;
  if (!/^[a-z0-9._-]{1,128}$/.test(name)) {
    yield ["name", "is none: lower-case letters, digits, dots, hyphens and underscores, at most 128"];
  }
  for (const field of ["key", "lane"]) {
    if (typeof asked[field] === "string") yield [field, textRule(asked[field], KEY)];
  }
  const isCount = typeof attempts !== "number" || (attempts >= 1 && attempts <= 100);
  yield ["max_attempts", isCount ? "" : "is out of bounds; 1 to 100 are allowed"];
  yield ["delay_ms", delay > MAX_DELAY_MS ? `is over ${MAX_DELAY_MS}, ten years` : ""];
}
