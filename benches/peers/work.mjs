// Durable work with queues from npm: graphile-worker and pg-boss.
//
// `node work.mjs FOLDER SETTINGS`, where FOLDER holds node_modules and SETTINGS is {"url": .., "all": BOOL}. A
// question {"in": NAME, "workers": N, "batched": BOOL, "jobs": N} adds jobs and does them; the answer is
// {"added": PER_SECOND, "done": PER_SECOND}. A question {"in": NAME, "started": N} asks how long after it was
// added a job was started; the answer is {"p50": MS, "p99": MS}.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [folder, settings] = process.argv.slice(2);
const { url, all } = JSON.parse(settings);
const load = createRequire(`${folder}/none.js`);
const PAYLOAD = { k: "0123456789012345678901234567890123456789" };
const TOGETHER = 1000;

function version(name) {
  try {
    return JSON.parse(readFileSync(`${folder}/node_modules/${name}/package.json`, "utf8")).version;
  } catch {
    return undefined;
  }
}

const seconds = (started) => (performance.now() - started) / 1e3;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

class Graphile {
  static async start() {
    const graphile = new Graphile();
    graphile.module = load("graphile-worker");
    graphile.logger = new graphile.module.Logger(() => () => {});
    const common = { connectionString: url, schema: "graphile", logger: graphile.logger };
    graphile.pool = new (load("pg").Pool)({ connectionString: url, max: 24 });
    graphile.pool.on("error", () => {});
    graphile.pool.on("connect", (client) => client.on("error", () => {}));
    graphile.common = common;
    graphile.utils = await graphile.module.makeWorkerUtils(common);
    await graphile.utils.migrate();
    return graphile;
  }

  run(workers, options, taskList) {
    const worker = { ...this.common, concurrentJobs: workers, maxPoolSize: workers + 4, ...options };
    return this.module.run({ preset: { worker }, pgPool: this.pool, noHandleSignals: true, taskList });
  }

  async turn({ workers, batched, jobs }) {
    let started = performance.now();
    for (let at = 0; at < jobs; at += TOGETHER) {
      const some = Math.min(TOGETHER, jobs - at);
      await this.utils.addJobs(Array.from({ length: some }, () => ({ identifier: "noop", payload: PAYLOAD })));
    }
    const added = jobs / seconds(started);
    let left = jobs;
    let finish;
    const finished = new Promise((done) => (finish = done));
    const local = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
    const noop = async () => {
      if (--left === 0) finish();
    };
    started = performance.now();
    const runner = await this.run(workers, batched ? local : {}, { noop });
    await finished;
    const done = jobs / seconds(started);
    await runner.stop();
    return { added, done };
  }

  async started(n) {
    let started;
    const runner = await this.run(4, {}, { started: async () => void started(performance.now()) });
    const waits = [];
    // The first one is for the start of the workers.
    for (let job = 0; job <= n; job++) {
      const done = new Promise((resolve) => (started = resolve));
      const added = performance.now();
      await this.utils.addJob("started", {});
      waits.push((await done) - added);
      // The pause that the others have between two jobs.
      await sleep(5);
    }
    await runner.stop();
    waits.shift();
    waits.sort((a, b) => a - b);
    return { p50: waits[n >> 1], p99: waits[Math.floor(n * 0.99)] };
  }
}

class Boss {
  static async start() {
    const boss = new Boss();
    const PgBoss = load("pg-boss");
    boss.boss = new PgBoss({ connectionString: url, max: 20, supervise: false, schedule: false });
    boss.boss.on("error", () => {});
    await boss.boss.start();
    return boss;
  }

  async turn({ workers, batched, jobs }) {
    const name = `bench_${workers}_${batched}`;
    await this.boss.createQueue(name);
    let started = performance.now();
    for (let at = 0; at < jobs; at += TOGETHER) {
      const some = Math.min(TOGETHER, jobs - at);
      await this.boss.insert(Array.from({ length: some }, () => ({ name, data: PAYLOAD })));
    }
    const added = jobs / seconds(started);
    const worker = async () => {
      for (;;) {
        const claimed = await this.boss.fetch(name, { batchSize: batched ? 100 : 1 });
        if (!claimed?.length) return;
        await this.boss.complete(name, claimed.map(({ id }) => id));
      }
    };
    started = performance.now();
    await Promise.all(Array.from({ length: workers }, worker));
    return { added, done: jobs / seconds(started) };
  }
}

const peers = {};
const hello = {};
for (const [name, kind, wanted] of [["graphile-worker", Graphile, true], ["pg-boss", Boss, all]]) {
  if (wanted && version(name) && version("pg")) {
    peers[name] = await kind.start();
    hello[name] = version(name);
  }
}
console.log(JSON.stringify(hello));
for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  const peer = peers[question.in];
  const answer = question.started ? await peer.started(question.started) : await peer.turn(question);
  console.log(JSON.stringify(answer));
}
process.exit(0);
