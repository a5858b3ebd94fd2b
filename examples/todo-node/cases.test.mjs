// @ts-check
// kodex.mjs speaks the contract: every recorded exchange for plugins is replayed against it, except
// those that JavaScript's own reader of JSON decides.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { Host, initialize } from "./raw-host.mjs";

const CASES = fileURLToPath(new URL("../../contract/cases/v1/", import.meta.url));
const SUPPORTED = new Set([undefined, "agent", "cancel", "db", "job", "state", "step"]);

/**
 * Cases that would need a reader of JSON of its own: keys that stand twice, how a number was
 * written, and depth. The host sends no such line.
 */
const LEFT_OUT = new Set(["deep", "id-kinds", "key-twice"]);

/** @typedef {Record<string, any>} Step */

/** @returns {{head: Step, steps: Step[]}[]} */
function cases() {
  /** @type {{head: Step, steps: Step[]}[]} */
  const found = [];
  for (const file of readdirSync(CASES).filter((name) => name.endsWith(".jsonl")).sort()) {
    for (const line of readFileSync(CASES + file, "utf8").split("\n").filter(Boolean)) {
      const step = JSON.parse(line);
      if ("case" in step) found.push({ head: step, steps: [] });
      else found.at(-1)?.steps.push(step);
    }
  }
  return found;
}

/** Where and how a document differs from a pattern. @param {any} pattern @param {any} got @returns {string} */
function difference(pattern, got, at = "$") {
  const kinds = { any: true, "any string": "string", "optional string": "string", "any number": "number" };
  const word = typeof pattern === "string" && /^<(.*)>$/.exec(pattern)?.[1];
  const isPlain = (/** @type {any} */ value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const wrong = `${at}: expected ${JSON.stringify(pattern)?.slice(0, 200)}, got ${JSON.stringify(got)?.slice(0, 200)}`;
  if (word === "any object") return isPlain(got) ? "" : wrong;
  if (word && word in kinds) {
    const kind = kinds[/** @type {keyof typeof kinds} */ (word)];
    return kind === true || typeof got === kind ? "" : wrong;
  }
  if (Array.isArray(pattern) && Array.isArray(got) && pattern.length === got.length) {
    return pattern.map((one, n) => difference(one, got[n], `${at}[${n}]`)).find(Boolean) ?? "";
  }
  if (!isPlain(pattern) || !isPlain(got)) return Object.is(pattern, got) ? "" : wrong;
  const extra = Object.keys(got).find((key) => !(key in pattern));
  if (extra !== undefined && !("<more>" in pattern)) return `${at}: unexpected ${extra}`;
  for (const [key, wanted] of Object.entries(pattern)) {
    if (key === "<more>" || (!(key in got) && wanted === "<optional string>")) continue;
    if (!(key in got)) return `${at}: ${key} is missing`;
    const found = difference(wanted, got[key], `${at}.${key}`);
    if (found) return found;
  }
  return "";
}

/** @param {Step} step @param {unknown} itsId */
function bytesOf(step, itsId) {
  if (step.hex) return Buffer.concat([Buffer.from(step.hex, "hex"), Buffer.from("\n")]);
  const { head, unit, times, tail } = step.repeat ?? {};
  const lines = step.together ?? [step.repeat ? head + unit.repeat(times) + tail : step.line];
  const text = lines.map((/** @type {string} */ line) => `${line}${step.cr ? "\r" : ""}\n`).join("");
  return Buffer.from(text.replaceAll('"<its id>"', JSON.stringify(itsId) ?? "null"));
}

/** @param {Host} host @param {Step[]} steps */
async function replay(host, steps) {
  let itsId;
  for (const step of steps) {
    if (step.close) host.child.stdin.end();
    else if (step.dir === "host") host.write(bytesOf(step, itsId));
    else if ("exit" in step) assert.deepEqual(await host.exited, [step.exit, null]);
    else {
      const left = step.any_order ?? [step.expect];
      while (left.length > 0) {
        const got = await host.read();
        const differences = left.map((/** @type {any} */ pattern) => difference(pattern, got));
        const at = differences.indexOf("");
        assert.ok(at >= 0, differences.join("; "));
        left.splice(at, 1);
        if (got.method) itsId = got.id;
      }
    }
  }
}

test("every recorded exchange is reproduced", { skip: !existsSync(CASES) && "the contract is not here" }, async (t) => {
  const meant = cases().filter(
    ({ head }) => head.subject === "plugin" && SUPPORTED.has(head.needs) && !LEFT_OUT.has(head.case),
  );
  assert.ok(meant.length > 70, `only ${meant.length} cases were found`);
  for (const { head, steps } of meant) {
    await t.test(head.case, async (t) => {
      const host = new Host(t, ["node", "case-plugin.mjs"]);
      if (head.handshake !== false) await host.ask(1, "initialize", initialize({ plugin: "case-plugin" }));
      await replay(host, steps);
    });
  }
});

test("differences are seen", () => {
  /** @param {any} pattern @param {any} got @param {boolean} want */
  const check = (pattern, got, want) => assert.equal(difference(pattern, got) !== "", want, JSON.stringify(pattern));
  check({ a: "<any>" }, { a: null }, false);
  check({ a: "<optional string>" }, {}, false);
  check({ "<more>": true }, { b: 1 }, false);
  check({ a: 1 }, { a: 1, b: 2 }, true);
  check({ a: 1 }, {}, true);
  check([1], [1, 2], true);
  check("<any string>", 7, true);
});
