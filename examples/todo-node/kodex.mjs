// @ts-check
// What a plugin written for Node needs to speak to Kodex: copy this file beside your plugin.
//
// It turns lines of JSON-RPC on standard input into calls of your functions, many at once, and knows
// nothing about any hook or tool. It has no dependencies. Do not write to standard output yourself:
// a stray line there ends the plugin, which is why `console.log` is sent to standard error.

/** @typedef {import("./kodex.d.ts").Call} Call */
/** @typedef {import("./kodex.d.ts").Handler} Handler */
/** @typedef {import("./kodex.d.ts").Id} Id */
/** @typedef {import("./kodex.d.ts").Message} Message */
/** @typedef {import("./kodex.d.ts").Initialize} Initialize */
/** @typedef {import("./kodex.d.ts").CallParams} CallParams */
/** @typedef {import("./kodex.d.ts").Start} Start */
/** @typedef {import("./kodex.d.ts").Plugin} Plugin */

const CONTRACT_VERSION = 1;
const FEATURES = ["cancel", "clock", "log"];
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
}

/** @param {unknown} value @returns {value is Record<string, any>} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** @param {unknown} value @returns {value is Promise<unknown>} */
const isPromise = (value) => isObject(value) && typeof value.then === "function";

const cancelled = () => new WireError(-32002, "call.cancelled", "the call was cancelled");

/** What a handler is given besides the payload. @implements {Call} */
class Given {
  cancelled = false;
  /** @type {AbortController | undefined} */
  #controller;
  /** @type {((error: Error) => void) | undefined} */
  #giveUp;

  /** @param {import("./kodex.d.ts").Host} host @param {number} timeout */
  constructor(host, timeout) {
    this.host = host;
    this.timeout = timeout;
    this.dueAt = Date.now() + timeout;
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
  /** @type {Map<string, Handler>} */
  const handlers = new Map();
  /** The calls that run, by the host's id. @type {Map<Id, Given>} */
  const running = new Map();
  /** The questions that the host has yet to answer. @type {Map<Id, (answer: Message) => void>} */
  const asked = new Map();
  /** @type {Start} */
  let start = () => {};
  let state = "new";
  let lastId = 0;

  /** @param {Record<string, unknown>} message */
  const send = (message) => {
    process.stdout.write(lineOf(message));
  };

  /** @type {import("./kodex.d.ts").Host} */
  const host = {
    log: (level, message, fields = {}) => send({ method: "log", params: { level, message, fields } }),
    request: (method, params = {}) =>
      new Promise((resolve, reject) => {
        const id = ++lastId;
        send({ id, method, params });
        asked.set(id, ({ result, error }) => (error ? reject(new HostError(error)) : resolve(result)));
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
      await start({ context, grants, host });
      state = "ready";
    } finally {
      if (state !== "ready") state = "new";
    }
    const features = FEATURES.filter((feature) => contract.features?.includes(feature));
    return { contract: { version: CONTRACT_VERSION, features }, plugin: { name, version } };
  }

  /** @param {CallParams} params @returns {Handler} */
  function handlerOf(params) {
    if (state !== "ready") throw new WireError(-32003, "not_initialized", "the handshake comes first");
    const { kind, name: called, timeout_ms: timeout } = isObject(params) ? params : Object();
    const fits = ["hook", "tool"].includes(kind) && typeof called === "string" && "payload" in params;
    if (!fits || !Number.isFinite(timeout)) {
      throw new WireError(-32602, "params.invalid", "a call needs kind, name, payload and timeout_ms");
    }
    const handler = handlers.get(`${kind} ${called}`);
    if (!handler) throw new WireError(-32601, "method.unknown", `${name} has no ${kind} "${called}"`);
    return handler;
  }

  /** @param {Id} id @param {CallParams} params */
  async function call(id, params) {
    const handler = handlerOf(params);
    const given = new Given(host, params.timeout_ms);
    running.set(id, given);
    try {
      // The next line may already take the call back.
      await undefined;
      if (given.cancelled) throw cancelled();
      const work = handler(params.payload, given);
      const reply = isPromise(work) ? await given.orCancelled(work) : work;
      return reply === undefined ? {} : { reply };
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
      process.exit(0);
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
    asked.delete(id);
  }

  /** @type {Plugin} */
  const plugin = {
    activate(fn) {
      start = fn;
      return plugin;
    },
    hook(on, fn) {
      handlers.set(`hook ${on}`, fn);
      return plugin;
    },
    tool(called, fn) {
      handlers.set(`tool ${called}`, fn);
      return plugin;
    },
    run() {
      console.log = console.info = console.debug = console.error;
      process.stdin.on("data", linesTo(receive));
      process.stdin.on("end", () => process.exit(0));
      // The host is gone; there is nobody to tell.
      process.stdout.on("error", () => process.exit(1));
    },
  };
  return plugin;
}
