import { AsyncLocalStorage } from 'node:async_hooks';

/** Who called, how, and how to reach the caller while the call runs. Set at the edge, read where it matters. */
export interface CallContext {
  /** Token name, or network and address; never a secret. */
  actor: string;
  via: 'rest' | 'mcp' | 'internal';
  /** Aborted when the caller cancelled or went away. Made when it is first asked for: most calls have no use for it. */
  signal: () => AbortSignal;
  /** Tells the caller how far a long call is. `progress` grows; `total` where it is known. */
  progress: (progress: number, total: number | undefined, message: string) => void;
  /** A line for a caller who wants to follow the work; lost on callers who cannot be told. Never a secret. */
  log: (level: 'debug' | 'info' | 'warning' | 'error', message: string) => void;
  /** The change that the call is, for the audit log. */
  change?: AuditedCall;
}

/** A change under way, as the audit log tells of it. */
export interface AuditedCall {
  /** The name of the operation, which is the tool's. */
  operation: string;
  /** Without secrets. */
  arguments: Record<string, unknown>;
  /** Whether a line about it was written with a commit. */
  saved: boolean;
}

const storage = new AsyncLocalStorage<CallContext>();

const never = new AbortController().signal;

const INTERNAL: CallContext = {
  actor: 'suite',
  via: 'internal',
  signal: () => never,
  progress: () => undefined,
  log: () => undefined,
};

export function callContext(): CallContext {
  return storage.getStore() ?? INTERNAL;
}

export function runWithCallContext<T>(context: CallContext, work: () => T): T {
  return storage.run(context, work);
}
