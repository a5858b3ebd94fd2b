// The types of testing.mjs.

import type { Caller, Destination, HostError, Level, Param, Plugin, Row, RunStatus, Session, StepCounts } from "./kodex.d.ts";

/** A statement that the plugin sent. The ends of transactions stand in between: `BEGIN`, `COMMIT`, ... */
export interface Statement {
  sql: string;
  params: Param[] | { [name: string]: Param };
}

/** What the database says: rows, a number of changed rows, or nothing. Throw a HostError to refuse. */
export type Database = (sql: string, params: any) => Row[] | number | void | Promise<Row[] | number | void>;

export interface FakeOptions {
  /** What the user set for this plugin. */
  config?: object;
  grants?: string[];
  /** Without it the plugin has no database. */
  db?: Database;
  /** How long a call may take. */
  timeoutMs?: number;
  /** The names of the jobs in kodex.toml; without it every name is one. */
  jobs?: string[];
  /** The kinds of places that runs may answer to: `session`, `file`, `webhook` and `command` without it. */
  destinations?: string[];
  /** Answers further methods of the host. */
  services?: { [method: string]: (params: any) => unknown };
}

/** An agent run that the plugin asked for. The test says how it went. */
export interface FakeRun {
  readonly id: string;
  readonly key: string;
  readonly destination: Destination;
  readonly source: Destination;
  readonly input: string;
  readonly metadata: { [key: string]: string };
  readonly visibility: "private" | "public";
  readonly subject: { user: string; task?: string } | undefined;
  readonly attribution: string | undefined;
  readonly status: RunStatus;
  readonly error: string | undefined;
  complete(): void;
  fail(error: string): void;
  block(reason: string): void;
}

/** A job of the plugin. */
export interface FakeJob {
  readonly id: string;
  readonly name: string;
  readonly params: any;
  readonly key: string | undefined;
  readonly lane: string | undefined;
  readonly priority: "urgent" | "normal" | "low";
  readonly maxAttempts: number;
  /** In milliseconds on the clock. */
  readonly dueAt: number;
  /** How often it was begun. */
  readonly attempt: number;
  readonly status: RunStatus;
  readonly error: string | undefined;
  readonly result: any;
  /** What was recorded with `job.effect`, by key. */
  readonly effects: { [key: string]: any };
}

/** A host for one plugin, inside the test: no process, and the lines of JSON that a process would get. */
export class FakeHost {
  /** Shakes hands with the plugin and activates it. */
  static start(plugin: Plugin, options?: FakeOptions): Promise<FakeHost>;
  /** Stands still until it is moved. */
  clock: { now: number; advance(ms: number): void };
  /** Every log line. */
  logs: { level: Level; message: string; fields: any }[];
  /** Every statement. */
  statements: Statement[];
  /** Every request of the plugin. */
  requests: { method: string; params: any }[];
  /** What data steps saved last, by name. */
  progress: { [step: string]: any };
  /** The plugin's living values by key. */
  readonly values: { [key: string]: any };
  /** The reply, or `undefined` when there is none. Rejects with a HostError, whose code is the contract's. */
  callHook(name: string, payload?: unknown): Promise<any>;
  callTool(name: string, input?: unknown, caller?: Caller): Promise<any>;
  /** Runs a data step as after an interruption with this progress; gives its counters. */
  runStep(name: string, progress?: unknown): Promise<StepCounts>;
  /** The agent runs that the plugin asked for, the oldest first. */
  readonly runs: FakeRun[];
  /** The plugin's jobs, the oldest first. */
  readonly jobs: FakeJob[];
  /** Calls the hook `heartbeat` with a ticket; gives the reply. */
  beat(): Promise<any>;
  /** Runs the jobs that are due, those that they add too. One that throws is due again after a pause. */
  runJobs(): Promise<FakeJob[]>;
  /** Adds a job and makes its first attempt; gives its result. */
  callJob(name: string, params?: unknown, options?: { session?: Partial<Session> }): Promise<any>;
  /** Takes the last call back. */
  cancel(): void;
}

export { HostError };
