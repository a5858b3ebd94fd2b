// The types of testing.mjs.

import type { HostError, Level, Param, Plugin, Row, StepCounts } from "./kodex.d.ts";

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
  /** Answers further methods of the host. */
  services?: { [method: string]: (params: any) => unknown };
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
  callTool(name: string, input?: unknown): Promise<any>;
  /** Runs a data step as after an interruption with this progress; gives its counters. */
  runStep(name: string, progress?: unknown): Promise<StepCounts>;
  /** Takes the last call back. */
  cancel(): void;
}

export { HostError };
