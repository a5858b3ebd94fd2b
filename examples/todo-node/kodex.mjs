// @ts-check
// What a plugin written for Node needs to speak to Kodex: copy this file beside your plugin.
//
// It turns lines of JSON-RPC on standard input into calls of your functions, many at once, and knows
// nothing about any hook or tool. It has no dependencies. Do not write to standard output yourself:
// a stray line there ends the plugin, which is why `console.log` is sent to standard error.

import { StringDecoder } from "node:string_decoder";

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

/** @param {unknown} error */
function errorObject(error) {
  if (error instanceof WireError) {
    return { code: error.code, message: error.message, data: error.data };
  }
  const { message, stack } = error instanceof Error ? error : { message: String(error), stack: "" };
  return { code: -32000, message, data: { code: "plugin.raised", traceback: stack } };
}

/** @param {import("./kodex.d.ts").Identity} identity @returns {Plugin} */
export function createPlugin({ name, version }) {
  /** @type {Map<string, Handler>} */
  const handlers = new Map();
  /** The calls that run, by the host's id. @type {Map<Id, AbortController>} */
  const running = new Map();
  /** The questions that the host has yet to answer. @type {Map<Id, (answer: Message) => void>} */
  const asked = new Map();
  /** @type {Start} */
  let start = () => {};
  let state = "new";
  let lastId = 0;

  /** @param {Record<string, unknown>} message */
  const send = (message) => {
    process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  };

  /** @type {import("./kodex.d.ts").Host} */
  const host = {
    log: (level, message, fields = {}) => send({ method: "log", params: { level, message, fields } }),
    request: (method, params = {}) =>
      new Promise((resolve, reject) => {
        const id = ++lastId;
        asked.set(id, ({ result, error }) => (error ? reject(new HostError(error)) : resolve(result)));
        send({ id, method, params });
      }),
    now: async () => new Date((await host.request("clock/now")).unix_ms),
  };

  /** @param {Initialize} params */
  async function initialize({ contract, context = {}, grants = [], plugin } = Object()) {
    if (state !== "new") throw new WireError(-32600, "wire.frame.envelope", "initialize came twice");
    if (contract?.version !== CONTRACT_VERSION) {
      throw new WireError(-32602, "params.invalid", `${name} speaks contract version ${CONTRACT_VERSION}`);
    }
    if (plugin !== name) {
      throw new WireError(-32602, "params.invalid", `this is ${name}, not ${plugin}`);
    }
    await start({ context, grants, host });
    state = "ready";
    const features = FEATURES.filter((feature) => contract.features?.includes(feature));
    return { contract: { version: CONTRACT_VERSION, features }, plugin: { name, version } };
  }

  /** @param {Id} id @param {CallParams} params */
  async function call(id, params) {
    if (state !== "ready") throw new WireError(-32003, "not_initialized", "initialize comes first");
    if (!isObject(params) || typeof params.name !== "string" || !("payload" in params)) {
      throw new WireError(-32602, "params.invalid", "a call needs kind, name and payload");
    }
    const handler = handlers.get(`${params.kind} ${params.name}`);
    if (!handler) {
      throw new WireError(-32601, "method.unknown", `${name} has no ${params.kind} "${params.name}"`);
    }
    const controller = new AbortController();
    const { signal } = controller;
    running.set(id, controller);
    try {
      const deadline = new Date(params.deadline_unix_ms);
      // The host wants its answer as soon as it cancels; a function that does not watch the signal
      // may run on, but nobody hears from it any more.
      const cancelled = new Promise((_, reject) => {
        const error = new WireError(-32002, "call.cancelled", "the call was cancelled");
        signal.addEventListener("abort", () => reject(error), { once: true });
      });
      const work = Promise.resolve(handler(params.payload, { signal, deadline, host }));
      const reply = await Promise.race([work, cancelled]);
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
    for (const controller of running.values()) controller.abort();
    // The cancelled calls answer first; the host closes our input after it read this answer.
    setImmediate(() => {
      send({ id, result: null });
      process.exit(0);
    });
  }

  /** @param {string} line */
  function receive(line) {
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(line);
    } catch (error) {
      const text = `the line is no JSON: ${error instanceof Error ? error.message : error}`;
      send({ id: null, error: errorObject(new WireError(-32700, "wire.frame.syntax", text)) });
      return;
    }
    const { id, method } = isObject(message) ? message : Object();
    if (typeof method === "string" && id !== undefined) void answer(id, message);
    else if (method === "$/cancel") running.get(message.params?.id)?.abort();
    else if (method === undefined && id !== undefined) {
      asked.get(id)?.(message);
      asked.delete(id);
    }
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
      // Not node:readline, which also ends a line at U+2028 and U+2029, and these may stand inside
      // a text of JSON.
      const decoder = new StringDecoder("utf8");
      let rest = "";
      process.stdin.on("data", (chunk) => {
        const lines = decoder.write(chunk).split("\n");
        lines[0] = rest + lines[0];
        rest = lines.pop() ?? "";
        for (const line of lines) receive(line);
      });
      process.stdin.on("end", () => process.exit(0));
      // The host is gone; there is nobody to tell.
      process.stdout.on("error", () => process.exit(1));
    },
  };
  return plugin;
}
