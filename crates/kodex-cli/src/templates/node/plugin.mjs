// @ts-check
import { createPlugin } from "./kodex.mjs";
import { countWords } from "./words.mjs";

createPlugin({ name: "{{name}}", version: "0.1.0" })
  .tool("count_words", async (input) => ({ words: countWords(input.text) }))
  // Return undefined where there is nothing to say.
  .hook("hook.name", async (payload) => ({ plugin: "{{name}}", payload }))
  .run();
