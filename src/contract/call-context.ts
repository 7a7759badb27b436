import { AsyncLocalStorage } from 'node:async_hooks';
import type { Scope } from '../model/scope/scope.js';
import type { DeclaredOperation } from './operation.js';
import type { Precondition } from './preconditions/entity-tags.js';
import type { Role } from './role.js';

/** The caller of the current operation, and how to reach it. Set where a request arrives, read in any service. */
export interface CallContext {
  /** Token name, or network and address. Holds no secret. */
  actor: string;
  via: 'rest' | 'mcp' | 'internal';
  /** The id of the HTTP request; undefined for the suite itself. */
  requestId?: string | undefined;
  /** What the caller may do. */
  role: Role;
  /** What the token of the caller is limited to; undefined for a caller without such a limit. */
  scope?: Scope | undefined;
  /** The key of the caller (`ownerOf`); undefined for the suite itself. */
  owner?: string | undefined;
  /** The operation that the route of the request serves; undefined for other routes, and for tools. */
  operation?: DeclaredOperation | undefined;
  /** Aborted when the caller cancels or disconnects. Created on first use, because most calls do not need it. */
  signal: () => AbortSignal;
  /** Reports the progress of a long call. `progress` grows; `total` is given if it is known. */
  progress: (progress: number, total: number | undefined, message: string) => void;
  /** Sends a log line to the caller; does nothing if the caller cannot receive one. Must hold no secret. */
  log: (level: 'debug' | 'info' | 'warning' | 'error', message: string) => void;
  /** What the caller expects of the domain before the change. PersistenceService checks it. */
  precondition?: Precondition | undefined;
  /** The call as the audit log records it; undefined for a call that changes nothing. */
  audited?: AuditedCall;
}

/** A changing call that is running, as the audit log records it. */
export interface AuditedCall {
  /** The name of the operation, which is the name of its tool. */
  operation: string;
  /** Without secrets. */
  arguments: Record<string, unknown>;
  /** Whether a commit has written the line of this call. */
  saved: boolean;
  /** Which of several commits of the call the next line is about; absent for a call with one commit. */
  stage?: string | undefined;
  /** What the call removes or overwrites outside of `servers.json`, for example a certificate. */
  before?: object;
}

const storage = new AsyncLocalStorage<CallContext>();

const neverAborted = new AbortController().signal;

const INTERNAL: CallContext = {
  actor: 'suite',
  via: 'internal',
  role: 'admin',
  signal: () => neverAborted,
  progress: () => undefined,
  log: () => undefined,
};

/** The context of the current call; outside of a call, the suite itself is the caller. */
export function callContext(): CallContext {
  return storage.getStore() ?? INTERNAL;
}

/** Adds former values to the audit line of the current call, if the call changes something. */
export function recordFormer(before: object | undefined): void {
  const { audited } = callContext();
  if (audited && before) audited.before = before;
}

/** Names the commit that runs now, in a call that makes several, for its audit line. */
export function recordStage(stage: string | undefined): void {
  const { audited } = callContext();
  if (audited) audited.stage = stage;
}

/** The most domains that the audit line of one call names. */
export const DOMAINS_RECORDED = 100;

/** Adds domains that the current call changes to its audit line, because its arguments do not name all of them. */
export function recordDomains(domains: readonly string[]): void {
  const { audited } = callContext();
  if (!audited) return;
  const present = audited.arguments['domains'];
  const all = new Set([...(Array.isArray(present) ? (present as string[]) : []), ...domains]);
  audited.arguments = { ...audited.arguments, domains: [...all].slice(0, DOMAINS_RECORDED) };
}

export function runWithCallContext<T>(context: CallContext, work: () => T): T {
  return storage.run(context, work);
}
