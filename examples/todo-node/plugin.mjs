// @ts-check
// Finds what was left to do: a tool that lists the TODO comments of a text, and a hook that reminds
// the model of those in a prompt.

import { Refusal, createPlugin } from "./kodex.mjs";
import { findTodos } from "./todos.mjs";

let marks = ["TODO", "FIXME", "HACK", "XXX"];

createPlugin({ name: "todo-node", version: "0.1.0" })
  .activate(async ({ context, host }) => {
    if (Array.isArray(context.marks)) marks = context.marks.map(String);
    host.log("info", "ready", { marks, started: (await host.now()).toISOString() });
  })
  .tool("find_todos", async (input, { signal }) => {
    if (typeof input?.text !== "string") throw new Refusal("`text` must be the text to look through");
    return { todos: await findTodos(input.text, { marks, signal }) };
  })
  // A chain: the reply is the prompt for the next plugin, whole.
  .hook("prompt.submit", async (payload, { signal }) => {
    if (typeof payload?.prompt !== "string") return undefined;
    const todos = await findTodos(payload.prompt, { marks, signal });
    if (todos.length === 0) return undefined;
    const list = todos.map(({ line, mark, text }) => `- line ${line}: ${mark} ${text}`.trimEnd());
    return { ...payload, context: [...(payload.context ?? []), `Still to do:\n${list.join("\n")}`] };
  })
  .run();
