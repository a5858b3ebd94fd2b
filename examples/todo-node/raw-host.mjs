// @ts-check
// The host's side of the pipes, for tests. It knows lines and JSON, and nothing of kodex.mjs.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export const folder = fileURLToPath(new URL(".", import.meta.url));
const LIMIT_MS = 10_000;

/** A plugin's process, with the host's end of its pipes. */
export class Host {
  /** @param {import("node:test").TestContext} t @param {string[]} command */
  constructor(t, command = ["node", "plugin.mjs"]) {
    const [program = "node", ...args] = command;
    this.child = spawn(program, args, { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
    this.exited = once(this.child, "exit");
    this.stderr = "";
    this.child.stderr.setEncoding("utf8").on("data", (text) => (this.stderr += text));
    /** @type {any[]} */
    this.unread = [];
    /** As they came, for who looks at the digits. @type {string[]} */
    this.lines = [];
    /** @type {(() => void)[]} */
    this.readers = [];
    let rest = "";
    this.child.stdout.setEncoding("utf8").on("data", (text) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines);
      this.unread.push(...lines.map((line) => JSON.parse(line)));
      for (const wake of this.readers.splice(0)) wake();
    });
    t.after(() => this.child.kill());
  }

  /** @param {unknown} message */
  send(message) {
    this.write(`${JSON.stringify(message)}\n`);
  }

  /** @param {string | Uint8Array} text */
  write(text) {
    this.child.stdin.write(text);
  }

  /** The first message that fits, waiting for it if needed. @param {(message: any) => boolean} fits */
  async read(fits = () => true) {
    const late = AbortSignal.timeout(LIMIT_MS);
    for (;;) {
      const at = this.unread.findIndex(fits);
      if (at >= 0) return this.unread.splice(at, 1)[0];
      await new Promise((resolve, reject) => {
        this.readers.push(() => resolve(undefined));
        late.addEventListener("abort", () => reject(new Error(`no such line; stderr: ${this.stderr}`)));
      });
    }
  }

  /** @param {number} id @param {string} method @param {unknown} [params] */
  async ask(id, method, params) {
    this.send({ jsonrpc: "2.0", id, method, params });
    return this.read((message) => message.id === id && message.method === undefined);
  }

  /** @param {object} [context] */
  async initialize(context = {}) {
    const answer = this.ask(1, "initialize", initialize({ context }));
    const clock = await this.read((message) => message.method === "clock/now");
    this.send({ jsonrpc: "2.0", id: clock.id, result: { unix_ms: 1_795_000_000_000 } });
    return answer;
  }
}

/** @param {object} change */
export const initialize = (change = {}) => ({
  contract: { version: 1, features: ["agent", "cancel", "clock", "db", "job", "log", "state", "step", "future"] },
  host: { name: "kodex", version: "0.1.0" },
  plugin: "todo-node",
  context: {},
  grants: [],
  limits: { frame_bytes: 1 << 20, depth: 64 },
  ...change,
});
