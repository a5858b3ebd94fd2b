// A hook that is a program, in Node: started for each event, reads it, answers, ends.

let text = "";
for await (const chunk of process.stdin) text += chunk;
const { tool_name: tool } = JSON.parse(text);
process.stdout.write(JSON.stringify({ decision: "approve", tool }));
