// @ts-check
// Heartbeats, agent runs and jobs, over the fake host with a host's rules.

import assert from "node:assert/strict";
import { test } from "node:test";

import { HostError, createPlugin } from "./kodex.mjs";
import { FakeHost } from "./testing.mjs";

const FILE = { kind: "file", address: "report.md" };
const WISH = { key: "k", to: FILE, input: "i" };

/** @param {string} code */
const refused = (code) => (/** @type {any} */ error) => {
  assert.equal(error.code, code, error.stack);
  return true;
};

/** @param {string} code @param {string} words */
const refusedBecause = (code, words) => (/** @type {any} */ error) => {
  assert.ok(error.message.includes(words), error.message);
  return refused(code)(error);
};

const own = () => createPlugin({ name: "p", version: "1.0.0" });

/** A host whose heartbeat does this. @param {(beat: import("./kodex.d.ts").Beat) => unknown} fn @param {any} [options] */
const beating = (fn, options) => FakeHost.start(own().heartbeat(fn), options);

/** A host whose job `work` does this. @param {(job: import("./kodex.d.ts").JobCall) => unknown} fn */
async function working(fn) {
  /** @type {any} */
  let jobs;
  const plugin = own().activate((given) => void ({ jobs } = given)).job("work", fn);
  const host = await FakeHost.start(plugin, { jobs: ["work", "other"] });
  return { host, jobs: /** @type {import("./kodex.d.ts").Jobs} */ (jobs) };
}

test("a heartbeat asks once and counts what is new", async () => {
  /** @type {import("./kodex.d.ts").Accepted[]} */
  const seen = [];
  const host = await beating(async ({ agent, now }) => {
    seen.push(await agent.dispatch({ ...WISH, key: now.toISOString().slice(0, 10) }));
  });
  assert.deepEqual(await host.beat(), { n_started: 1 });
  assert.equal(await host.beat(), undefined);
  host.clock.advance(86_400_000);
  assert.deepEqual(await host.beat(), { n_started: 1 });
  assert.deepEqual(seen.map(({ isNew }) => isNew), [true, false, true]);
  assert.equal(seen[0]?.id, seen[1]?.id);
  assert.deepEqual(
    host.runs.map(({ key, destination, source, visibility }) => [key, destination, source, visibility]),
    ["2023-11-14", "2023-11-15"].map((day) => [day, FILE, FILE, "private"]),
  );
});

test("the same plugin and key give the id that a host gives", async () => {
  const { host, jobs } = await working(({ agent }) => agent.dispatch(WISH));
  assert.equal((await jobs.enqueue("work", null, { key: "k" })).id, "job_78873f47846bf9c7609f425b862a82eb");
  await host.runJobs();
  assert.equal(host.runs[0]?.id, "run_776e9c643a14b5e91d039a77beb6dd51");
});

test("where a run is", async () => {
  /** @type {any} */
  let agent;
  const host = await FakeHost.start(
    own()
      .activate((given) => void ({ agent } = given))
      .heartbeat(async (beat) => void (await beat.agent.dispatch(WISH))),
  );
  await host.beat();
  const run = /** @type {import("./testing.d.ts").FakeRun} */ (host.runs[0]);
  const shown = async () => {
    const { id, resultAt, ...rest } = await agent.find(run.id);
    assert.equal(id, run.id);
    return [rest.status, rest.isOver, resultAt?.getTime(), rest.error];
  };
  assert.deepEqual(await shown(), ["pending", false, undefined, undefined]);
  run.block("no key");
  assert.deepEqual(await shown(), ["blocked", false, undefined, "no key"]);
  run.complete();
  assert.deepEqual(await shown(), ["completed", true, host.clock.now, undefined]);
  assert.equal(await agent.cancel(run.id), true);
  run.fail("it gave up");
  assert.deepEqual(await shown(), ["failed", true, undefined, "it gave up"]);
  assert.equal(await agent.find("run_none"), undefined);
  assert.equal(await agent.cancel("run_none"), false);
  await assert.rejects(agent.dispatch(WISH), /a heartbeat or a job/);
});

test("a ticket is good for its call and 25 runs", async () => {
  /** @type {any} */
  let kept;
  const host = await beating(async (beat) => {
    kept = beat;
    for (let n = 0; n < 25; n += 1) await beat.agent.dispatch({ ...WISH, key: `k${n % 2}` });
    await assert.rejects(beat.agent.dispatch({ ...WISH, key: " " }), refused("agent.invalid"));
    await assert.rejects(beat.agent.dispatch(WISH), refused("agent.too_many"));
    await assert.rejects(beat.jobs.effect("e"), refused("ticket.no_job"));
  });
  assert.deepEqual(await host.beat(), { n_started: 2 });
  await assert.rejects(kept.agent.dispatch(WISH), refused("ticket.ended"));
});

test("handlers that were declared with `hook` use the ticket of their payload", async () => {
  const plugin = own()
    .hook("heartbeat", async ({ ticket }, { agent }) => ({
      n_started: Number((await agent.dispatch({ ...WISH, ticket })).isNew),
    }))
    .hook("job.work", async ({ ticket }, { jobs }) => {
      await assert.rejects(jobs.effect("e"), /in a job/);
      return (await jobs.effect("e", 1, { ticket })).first;
    });
  const host = await FakeHost.start(plugin);
  assert.deepEqual(await host.beat(), { n_started: 1 });
  assert.equal(await host.callJob("work"), true);
});

test("each field of a wish has its rule", async () => {
  /** @param {string[]} [destinations] */
  const asking = async (destinations) => {
    /** @type {any} */
    let asked;
    /** @type {any} */
    let answer;
    const host = await beating(
      async ({ agent }) => {
        // Caught here: what leaves a handler is an error of the plugin.
        answer = await agent.dispatch(asked).catch((error) => error);
      },
      { destinations },
    );
    return async (/** @type {any} */ change) => {
      asked = { ...WISH, ...change };
      await host.beat();
      if (answer instanceof HostError) throw answer;
    };
  };
  const ask = await asking();
  const many = (/** @type {number} */ n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, ""]));
  const session = { kind: "session", address: "s-1" };
  /** @type {[any, string][]} */
  const cases = [
    [{}, ""],
    [{ key: "k".repeat(512) }, ""],
    [{ key: "😀".repeat(512) }, ""],
    [{ key: "k".repeat(513) }, "idempotency_key has 513"],
    [{ key: " " }, "idempotency_key is blank"],
    [{ input: "x".repeat(32_000) }, ""],
    [{ input: "x".repeat(32_001) }, "input has 32001"],
    [{ input: "two\nlines" }, ""],
    [{ input: "a\0b" }, "input holds a NUL"],
    [{ metadata: many(20) }, ""],
    [{ metadata: many(21) }, "metadata has 21 entries"],
    [{ metadata: { ["k".repeat(129)]: "" } }, "a key that has 129"],
    [{ metadata: { " ": "" } }, "a key that is blank"],
    [{ metadata: { k: "x".repeat(513) } }, "metadata.k has 513"],
    [{ metadata: { k: "a\nb" } }, "metadata.k has a line break"],
    [{ to: { kind: "pigeon", address: "a" } }, "known are session, file"],
    [{ to: { kind: "File", address: "a" } }, "destination.kind is no name"],
    [{ to: { kind: "file", address: "" } }, "destination.address is blank"],
    [{ source: { kind: "pigeon", address: "a" } }, ""],
    [{ source: { kind: "pigeon", address: "a\u2028b" } }, "source.address has a line break"],
    [{ attribution: "x".repeat(161) }, "attribution has 161"],
    [{ to: session, subject: { user: "u", task: "t" } }, ""],
    [{ to: session, subject: { user: "" } }, "a user that is blank"],
    [{ subject: { user: "u" } }, "subject is allowed"],
    [{ to: session, visibility: "public", subject: { user: "u" } }, "subject is allowed"],
  ];
  for (const [change, problem] of cases) {
    if (problem) await assert.rejects(ask(change), refusedBecause("agent.invalid", problem));
    else await ask(change);
  }
  for (const change of [
    { colour: "red" },
    { input: 7 },
    { input: null },
    { metadata: null },
    { metadata: { k: 1 } },
    { visibility: "secret" },
    { to: { ...FILE, thread: "t" } },
    { subject: { user: "u", binding: "mine" } },
    { subject: {} },
  ]) {
    await assert.rejects(ask(change), refused("params.invalid"), JSON.stringify(change));
  }
  await assert.rejects((await asking(["session"]))({}), refused("agent.invalid"));
});

test("a job is tried again after pauses until it succeeds", async () => {
  /** @type {any[]} */
  const attempts = [];
  const { host, jobs } = await working(({ id, params, attempt }) => {
    attempts.push([id, params, attempt]);
    if (attempt < 3) throw new Error(`no luck ${attempt}`);
    return { n: attempt };
  });
  const { id } = await jobs.enqueue("work", { file: "a" });
  assert.deepEqual((await host.runJobs()).map((job) => job.id), [id]);
  const job = /** @type {import("./testing.d.ts").FakeJob} */ (host.jobs[0]);
  assert.deepEqual([job.status, job.error], ["pending", "no luck 1"]);
  assert.deepEqual(await host.runJobs(), []);
  host.clock.advance(1_000);
  assert.equal((await host.runJobs()).length, 1);
  host.clock.advance(4_999);
  assert.deepEqual(await host.runJobs(), []);
  host.clock.advance(1);
  await host.runJobs();
  assert.deepEqual([job.status, job.result], ["completed", { n: 3 }]);
  assert.deepEqual(attempts, [1, 2, 3].map((n) => [id, { file: "a" }, n]));
  assert.deepEqual((await jobs.find(id))?.resultAt, new Date(host.clock.now));
});

test("attempts are used up, and a cancelled job is not tried again", async () => {
  const { host, jobs } = await working(async (job) => {
    if (job.params === "stop") assert.equal(await job.jobs.cancel(job.id), true);
    throw new Error("no luck");
  });
  const first = await jobs.enqueue("work", "go", { maxAttempts: 2 });
  const second = await jobs.enqueue("work", "stop");
  const third = await jobs.enqueue("work", "go", { delayMs: 10_000 });
  await host.runJobs();
  host.clock.advance(1_000);
  await host.runJobs();
  assert.equal(await jobs.cancel(third.id), true);
  const shown = [];
  for (const { id } of [first, second, third]) {
    const found = await jobs.find(id);
    shown.push([found?.status, found?.error]);
  }
  const asked = "somebody asked for its end";
  assert.deepEqual(shown, [["failed", "no luck"], ["cancelled", asked], ["cancelled", asked]]);
});

test("jobs have keys, and are run by hurry and age when they are due", async () => {
  /** @type {any[]} */
  const order = [];
  const { host, jobs } = await working(({ params }) => void order.push(params));
  await jobs.enqueue("work", 1, { priority: "low" });
  await jobs.enqueue("work", 2, { key: "k" });
  assert.equal((await jobs.enqueue("work", 7, { key: "k" })).isNew, false);
  assert.equal((await jobs.enqueue("other", 8, { key: "k", delayMs: 20 })).isNew, true);
  await jobs.enqueue("work", 3, { delayMs: 10 });
  await jobs.enqueue("work", 4, { priority: "urgent" });
  await jobs.enqueue("work");
  await host.runJobs();
  assert.deepEqual(order, [4, 2, null, 1]);
  host.clock.advance(10);
  await host.runJobs();
  assert.deepEqual(order.slice(4), [3]);
});

test("a wish for a job is judged", async () => {
  const { jobs } = await working(() => undefined);
  /** @type {[string, any, any, string][]} */
  const cases = [
    ["play", null, {}, "job.unknown"],
    ["Wo rk", null, {}, "job.invalid"],
    ["", null, {}, "job.invalid"],
    ["work", null, { key: " " }, "job.invalid"],
    ["work", null, { lane: "x".repeat(513) }, "job.invalid"],
    ["work", null, { maxAttempts: 0 }, "job.invalid"],
    ["work", null, { maxAttempts: 101 }, "job.invalid"],
    ["work", null, { delayMs: 11 * 366 * 86_400_000 }, "job.invalid"],
    ["work", null, { delayMs: -1 }, "params.invalid"],
    ["work", "x".repeat(300 << 10), {}, "job.invalid"],
    ["work", null, { priority: "now" }, "params.invalid"],
    ["work", null, { colour: "red" }, "params.invalid"],
  ];
  for (const [name, params, options, code] of cases) {
    await assert.rejects(jobs.enqueue(name, params, options), refused(code), JSON.stringify(options));
  }
  assert.equal(new HostError({ message: "", data: { code: "job.queue_full" } }).isRetryable, true);
});

test("an effect is recorded once over all attempts", async () => {
  /** @type {any[]} */
  const told = [];
  const { host, jobs } = await working(async (job) => {
    told.push(await job.effect("key", `attempt ${job.attempt}`));
    await assert.rejects(job.effect(" "), refused("job.invalid"));
    await assert.rejects(job.effect("large", "x".repeat(256 << 10)), refused("job.invalid"));
    if (job.attempt < 2) throw new Error("after the effect");
    return job.effect("nothing");
  });
  await jobs.enqueue("work");
  await host.runJobs();
  host.clock.advance(1_000);
  await host.runJobs();
  assert.deepEqual(told, [{ first: true, value: "attempt 1" }, { first: false, value: "attempt 1" }]);
  assert.deepEqual([host.jobs[0]?.effects, host.jobs[0]?.result], [{ key: "attempt 1", nothing: null }, { first: true, value: null }]);
});

test("one attempt by hand, and a session", async () => {
  const plugin = own()
    .job("session.completed", ({ session }) => session?.messages.map(({ text }) => text))
    .job("fails", () => {
      throw new Error("here");
    });
  const host = await FakeHost.start(plugin);
  const session = { messages: [{ role: /** @type {const} */ ("user"), text: "hi", authority: /** @type {const} */ ("instruction") }] };
  assert.deepEqual(await host.callJob("session.completed", null, { session }), ["hi"]);
  await assert.rejects(host.callJob("fails"), /here/);
  await assert.rejects(host.callJob("none"), refused("method.unknown"));
  for (const name of ["", "Work", "a b", "x".repeat(129)]) {
    assert.throws(() => own().job(name, () => {}), /no name for a job/);
  }
});

test("a heartbeat's reply is an object or nothing", async () => {
  assert.deepEqual(await (await beating(() => ({ n_started: 7 }))).beat(), { n_started: 7 });
  await assert.rejects((await beating(() => 7)).beat(), /returns nothing, or its reply/);
});
