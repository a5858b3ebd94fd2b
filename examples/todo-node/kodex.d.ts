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

/** What comes with each call besides its payload. */
export interface Call {
  /** Fires when the host no longer wants the answer. Hand it on to fetch and the like. */
  signal: AbortSignal;
  /** When the answer is due. */
  deadline: Date;
  host: Host;
}

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
}) => void | Promise<void>;

export interface Plugin {
  activate(fn: Start): Plugin;
  hook(name: string, fn: Handler): Plugin;
  tool(name: string, fn: Handler): Plugin;
  /** Starts to listen. Comes last. */
  run(): void;
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
  kind: "hook" | "tool";
  name: string;
  payload: unknown;
  timeout_ms: number;
  deadline_unix_ms: number;
}
