// @ts-check
// The plugin that contract/cases/README.md describes, for the replay of the recorded exchanges.

import { setImmediate } from "node:timers/promises";

import { HostError, Refusal, createPlugin } from "./kodex.mjs";

/** @type {unknown} */
let given;

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
  .tool("count", (input) => {
    if (typeof input?.text !== "string") throw new Refusal("text must be a string");
    return { words: input.text.split(/\s+/).filter(Boolean).length };
  })
  .run();
