// The types of kodex.mjs. Node 20 runs no TypeScript, so the code is JavaScript whose types are
// checked; `tsc --noEmit` in this folder does it.

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
export type Id = number | string;
export type Level = "debug" | "info" | "warning" | "error";

export interface Identity {
  /** As in kodex.toml. */
  name: string;
  version: string;
}

/** What a plugin may ask of its host. */
export interface Host {
  /** Writes to the plugin's log. */
  log(level: Level, message: string, fields?: { [key: string]: Json }): void;
  /** Asks for a service; rejects with a HostError. */
  request(method: string, params?: { [key: string]: Json }): Promise<any>;
  /** The host's time. */
  now(): Promise<Date>;
}

/** A value in a parameter. */
export type Param =
  | null
  | boolean
  | number
  | bigint
  | string
  | Date
  | ArrayBuffer
  | ArrayBufferView
  | Numeric
  | Json_
  | readonly Param[]
  | { [key: string]: unknown };

/** By position for `?` and `$1`, or by name for `:name`. */
export type Params = readonly Param[] | { [name: string]: Param };

/** A row by the names of its columns. */
export type Row = { [column: string]: any };

/** The rows of a result: an array, and what else the statement said. */
export class Rows<T = Row> extends Array<T> {
  /** The names of the columns. */
  columns: string[];
  /** How many rows were inserted, updated or deleted. */
  changed: number;
}

/** A decimal of any precision, as it stands in the database. `String(n)` and `Number(n)` read it. */
export class Numeric {
  constructor(text: string);
  readonly text: string;
  toString(): string;
  toJSON(): string;
}

/** Marks a parameter as a JSON document; an object is one without it, an array is not. */
declare class Json_ {
  constructor(document: unknown);
  readonly document: unknown;
}
export { Json_ as Json };

/**
 * The plugin's own database. Unqualified table names are its own; the host refuses everything else.
 *
 * Integers beyond 2^53 are bigint, bytes are Uint8Array, decimals Numeric, JSON columns documents.
 * Times are texts in RFC 3339; `new Date(text)` reads them.
 */
export interface Db {
  /** Runs one statement and gives its rows; more than `maxRows` are an error. */
  query<T = Row>(sql: string, params?: Params, options?: { maxRows?: number }): Promise<Rows<T>>;
  /** Runs one statement that gives at most one row. */
  queryOne<T = Row>(sql: string, params?: Params): Promise<T | undefined>;
  /** Runs one statement; says how many rows it inserted, updated or deleted. */
  execute(sql: string, params?: Params): Promise<number>;
  /** Reads a large result row by row, fetching `rows` at a time. Not in a transaction. */
  pages<T = Row>(sql: string, params?: Params, options?: { rows?: number }): AsyncGenerator<T, void, void>;
  /**
   * Commits when the function is done and rolls back when it throws. What is asked of `db` inside is
   * part of it, in the functions that are called there too. Inside another one it is a savepoint.
   */
  transaction<T>(work: (tx: Db) => T | Promise<T>): Promise<T>;
}

export interface SetOptions {
  /** How long the value lives; for good without it. */
  ttlMs?: number;
  /** Only while this lock is held; otherwise an error with the code `state.lease_lost`. */
  under?: Lease;
}

/** A value with its version and, where it has one, the time at which it is gone. */
export interface Entry<T = any> {
  value: T;
  /** Rises with every write of the key. */
  version: number;
  expiresAt: Date | undefined;
}

/** A key in a list. */
export interface Key {
  key: string;
  version: number;
  /** Bytes of the value. */
  bytes: number;
  expiresAt: Date | undefined;
}

/** A lock that is held. */
export interface Lease {
  readonly key: string;
  /** Higher than that of every earlier holder. */
  readonly token: number;
  readonly until: Date;
  /** Holds it for so long from now. */
  renew(ttlMs: number): Promise<void>;
}

/** The plugin's own small values by key. Values are JSON. */
export interface State {
  /** The value of a key; `undefined` when there is none or it has expired. */
  get<T = any>(key: string): Promise<T | undefined>;
  /** The value with its version. */
  entry<T = any>(key: string): Promise<Entry<T> | undefined>;
  /** Sets a value; gives its version. */
  set(key: string, value: unknown, options?: SetOptions): Promise<number>;
  /** Sets a value unless there is one; says whether it did. */
  setIfAbsent(key: string, value: unknown, options?: SetOptions): Promise<boolean>;
  /** Sets a value if the present one has this version, 0 for none; says whether it did. */
  compareAndSwap(key: string, value: unknown, options: SetOptions & { version: number }): Promise<boolean>;
  /** Replaces a value by what the function makes of it, again when somebody else was faster. */
  update<T = any>(
    key: string,
    change: (value: T | undefined) => T | Promise<T>,
    options?: { ttlMs?: number },
  ): Promise<T>;
  /** Deletes a value, if it has the version; says whether there was one to delete. */
  delete(key: string, options?: { version?: number; under?: Lease }): Promise<boolean>;
  /** The keys that begin with a text, in byte order. */
  list(prefix?: string): AsyncGenerator<Key, void, void>;
  /**
   * Holds a lock while the function runs, at most for `ttlMs` (30 s). An error with the code
   * `state.locked` when somebody holds it. Who works longer renews it, and writes with `under`.
   */
  lock<T>(key: string, options: { ttlMs?: number }, work: (lease: Lease) => T | Promise<T>): Promise<T>;
}

/** A place where answers go to or requests come from. */
export interface Destination {
  /** `session`, `file`, `webhook`, `command`, or what the host knows besides. */
  kind: string;
  /** Which one of that kind: an opaque session, a path, an address, a configured name. One line. */
  address: string;
}

export type Visibility = "private" | "public";
export type RunStatus = "pending" | "running" | "awaiting_resume" | "blocked" | "completed" | "failed" | "cancelled";

/** A wish for an agent run. */
export interface RunWish {
  /** The same plugin and key always mean the same run. */
  key: string;
  /** Where the answer goes. */
  to: Destination;
  /** What the agent is asked to do. */
  input: string;
  /** Short facts for whoever runs it. */
  metadata?: { [key: string]: string };
  /** Where the wish came from; the destination without it. */
  source?: Destination;
  /** Who may see what is said at the destination; private without it. */
  visibility?: Visibility;
  /** Whose stored credentials the run may use; a private session alone may be given those. */
  subject?: { user: string; task?: string };
  /** What asked for the answer, in a few words, for its reader. */
  attribution?: string;
  /** Of a heartbeat or job whose handler was declared with `hook`. */
  ticket?: number | undefined;
}

/** What was asked for is durable. */
export interface Accepted {
  id: string;
  /** Whether it was made now; otherwise it was there. */
  isNew: boolean;
}

/** Where a run or job is. Nothing of the request is in it. */
export interface Projection {
  id: string;
  status: RunStatus;
  /** Whether it never changes again by itself. */
  isOver: boolean;
  /** When the result was there. */
  resultAt: Date | undefined;
  /** Why it failed, is blocked or was cancelled. */
  error: string | undefined;
}

/** The plugin's agent runs. Rejects with a HostError, whose code begins with `agent.` or is `ticket.ended`. */
export interface Agent {
  /** Asks for a run, in a heartbeat or a job. Asking again with the same key does no harm. */
  dispatch(wish: RunWish): Promise<Accepted>;
  /** Where a run of this plugin is; `undefined` when it has no such run. */
  find(id: string): Promise<Projection | undefined>;
  /** Asks for a run's end; says whether it has ended or will be told to. */
  cancel(id: string): Promise<boolean>;
}

export interface JobOptions {
  /** The same plugin, name and key always mean the same job; without one every call adds one. */
  key?: string;
  /** How long to wait before it is due. */
  delayMs?: number;
  priority?: "urgent" | "normal" | "low";
  /** Jobs of one lane never run at the same time. */
  lane?: string;
  /** How often it is tried; 5 times without it. */
  maxAttempts?: number;
}

/** What is known of an effect of a job. */
export interface Effect<T = any> {
  /** Nobody said so before, in no attempt. */
  first: boolean;
  /** What the first one gave. */
  value: T;
}

/** The plugin's jobs. Rejects with a HostError, whose code begins with `job.` or `ticket.`. */
export interface Jobs {
  /** Adds a job, which the function declared with `plugin.job(name, ...)` will be called with. */
  enqueue(name: string, params?: unknown, options?: JobOptions): Promise<Accepted>;
  /** Where a job of this plugin is; `undefined` when it has no such job. */
  find(id: string): Promise<Projection | undefined>;
  /** Asks for a job's end; says whether it has ended or will be told to. */
  cancel(id: string): Promise<boolean>;
  /** See `JobCall.effect`, which knows its ticket. */
  effect<T = any>(key: string, value?: T, options?: { ticket?: number | undefined }): Promise<Effect<T>>;
}

/** What comes with each call besides its payload. */
export interface Call {
  /** For tools: who calls and from where, as the host knows it. */
  caller: Caller | undefined;
  /** Fires when the host no longer wants the answer. Hand it on to fetch and the like. */
  signal: AbortSignal;
  /** When the answer is due. */
  deadline: Date;
  host: Host;
  /** The plugin's own database; its manifest must have a `[database]`. */
  db: Db;
  /** The plugin's own values. */
  state: State;
  /** The plugin's agent runs; heartbeats and jobs may ask for new ones. */
  agent: Agent;
  /** The plugin's jobs. */
  jobs: Jobs;
}

/** Who calls a tool and from where. What a model writes into the input cannot change it. */
export interface Caller {
  /** The same for a call that is made again, and for no other. */
  call_id: string;
  /** The conversation in which it is made. */
  source: Destination;
  /** Who may see what is said there; private where it is not said. */
  visibility?: "public" | "private";
  /** Whether it is between one person and the agent alone. */
  direct?: boolean;
  /** The person, where the host is sure of it. */
  actor?: { id: string; name?: string };
}

/** What the handler of a heartbeat is given. Its doors carry the ticket of the call. */
export interface Beat extends Call {
  /** The host's time. */
  now: Date;
  ticket: number;
}

/** What the handler of a job is given: one attempt. Its doors carry the ticket of the call. */
export interface JobCall<T = any> extends Call {
  /** The same in every attempt. */
  id: string;
  /** What the job was added with. */
  params: T;
  /** Which attempt this is, from 1. */
  attempt: number;
  ticket: number;
  /** What happened in the session, for the job `session.completed`. */
  session: Session | undefined;
  /**
   * Records an effect of this job, once over all attempts: the first one wins, and later ones hear its
   * value. So a value that all attempts must share is fixed before it is used.
   */
  effect<V = any>(key: string, value?: V): Promise<Effect<V>>;
}

/** What a job may know of a session that has ended: the current turn alone, cleaned by the host. */
export interface Session {
  conversation_id: string;
  session_id: string;
  /** 0 where it is not known. */
  began_at_ms: number;
  completed_at_ms: number;
  source: Destination;
  visibility: Visibility;
  messages: {
    role: "user" | "assistant";
    text: string;
    /** `instruction` is the wish of whoever began the turn, `context` something that was there. */
    authority: "instruction" | "context";
    actor?: string;
    at_ms?: number;
  }[];
  tools: { name: string; is_error: boolean; text?: string }[];
}

/** What a data step did. */
export interface StepCounts {
  scanned?: number;
  migrated?: number;
  existing?: number;
  missing?: number;
  skipped?: number;
}

/** What a data step is given. */
export interface Step extends Call {
  /** What was saved last, before an interruption; null when the step begins anew. */
  progress: any;
  /** Remembers how far the step is, for after a crash, and tells the counters so far. */
  save(progress: unknown, counts?: StepCounts): Promise<void>;
}

/** A data step of the journal. It must be able to run again after a crash. */
export type StepHandler = (step: Step) => StepCounts | void | Promise<StepCounts | void>;

/**
 * Answers a hook or a tool. `undefined` means: nothing to say.
 *
 * The payload comes from outside and has any form; look before you use it.
 */
export type Handler = (payload: any, call: Call) => unknown;

/** Runs once before the first call. What it throws keeps the plugin from starting. */
export type Start = (given: {
  /** The user's configuration for this plugin. */
  context: { [key: string]: any };
  grants: string[];
  host: Host;
  db: Db;
  state: State;
  agent: Agent;
  jobs: Jobs;
}) => void | Promise<void>;

export interface Plugin {
  readonly identity: Identity;
  activate(fn: Start): Plugin;
  hook(name: string, fn: Handler): Plugin;
  tool(name: string, fn: Handler): Plugin;
  /** Declares a data step, named like its file up to the first dot: `0003_backfill`. */
  step(name: string, fn: StepHandler): Plugin;
  /** Does what is due, at every heartbeat. With no reply, the host is told how many runs are new. */
  heartbeat(fn: (beat: Beat) => unknown): Plugin;
  /** Does the jobs of a name: the hook `job.<name>`. One that throws is tried again. */
  job<T = any>(name: string, fn: (job: JobCall<T>) => unknown): Plugin;
  /**
   * Starts to listen. Comes last. With `import.meta.url`, only when that file is what `node` was
   * started with, so that a test can import it.
   */
  run(url?: string): Plugin;
  /** Listens to somebody else than the process's pipes: gives the function that takes their bytes. */
  connect(ends: { write(line: string): unknown; exit?(): void }): (chunk: Buffer) => void;
}

/** A parameter as the contract has it, and a value of a row from there; for hosts in tests. */
export function toWire(value: unknown): unknown;
export function fromWire(value: any): any;

export function createPlugin(identity: Identity): Plugin;

/** Throw it in a tool whose input makes no sense; the model sees the text. */
export class Refusal extends Error {
  constructor(message: string);
}

/** What the host answers when it refuses or fails. */
export class HostError extends Error {
  constructor(error: { message: string; data?: { code?: string } });
  /** The stable code. */
  readonly code: string;
  /** Whether the same may succeed a little later; a transaction begins again from its start. */
  readonly isRetryable: boolean;
}

// The wire itself, contract version 1.

export interface Message {
  jsonrpc: "2.0";
  id?: Id | null;
  method?: string;
  params?: any;
  result?: any;
  error?: { code: number; message: string; data?: { code?: string } };
}

export interface Initialize {
  contract: { version: number; features: string[] };
  host: Identity;
  plugin: string;
  context: { [key: string]: any };
  grants: string[];
  limits: { frame_bytes: number; depth: number };
}

export interface CallParams {
  kind: "hook" | "tool" | "step";
  name: string;
  payload: any;
  timeout_ms: number;
  deadline_unix_ms: number;
  caller?: Caller;
}
