// @ts-check
// Finding TODO comments in a text of any language. Pure: text in, list out.

import { setImmediate } from "node:timers/promises";

/** @typedef {{line: number, mark: string, owner?: string, text: string}} Todo */

/**
 * What a comment begins with in the languages that most people write. Only the last sign of a row
 * such as `####` is looked at: a repetition here would make a long row cost its square.
 */
const COMMENT = /(?:\/\/|#|--|;|%|\/\*+|<!--|"""|^\s*\*)\s*/;

/** Long texts are read in parts, so that other calls, and a cancel, get their turn. */
const LINES_AT_ONCE = 2_000;

/**
 * The comments that start with one of the marks, as in `// TODO(anna): close the file`.
 *
 * @param {string} text
 * @param {{marks: string[], signal?: AbortSignal}} options
 * @returns {Promise<Todo[]>}
 */
export async function findTodos(text, { marks, signal }) {
  const words = marks.map((mark) => mark.replace(/[^\w]/g, "\\$&")).join("|");
  const todo = new RegExp(`${COMMENT.source}(?<mark>${words})\\b(?:\\((?<owner>[^)]*)\\))?:?(?<text>[^]*)`);
  const found = [];
  const lines = text.split(/\r?\n/);
  for (const [at, line] of lines.entries()) {
    if (at % LINES_AT_ONCE === LINES_AT_ONCE - 1) {
      await setImmediate();
      signal?.throwIfAborted();
    }
    const groups = line.match(todo)?.groups;
    if (groups) found.push(described(at + 1, groups));
  }
  return found;
}

/** @param {number} line @param {Record<string, string | undefined>} groups @returns {Todo} */
function described(line, { mark = "", owner = "", text = "" }) {
  const words = text.replace(/(\*\/|-->)\s*$/, "").trim();
  return { line, mark, ...(owner && { owner: owner.trim() }), text: words };
}
