// A plugin that approves, over the loop of examples/todo-node.

import { createPlugin } from "./kodex.mjs";

createPlugin({ name: "bench-node", version: "1.0.0" })
  .hook("prompt.preprocess", ({ tool_name: tool }) => ({ decision: "approve", tool }))
  .run();
