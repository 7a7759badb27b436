import { parse } from 'dotenv';
import { messageOf } from '../../errors/app-error.js';
import type { HealthDto } from '../../health/health.dto.js';
import { formatHostPort } from '../../model/ip-address.js';
import type { Settings } from '../../settings/settings.js';
import { localHost } from '../mending.js';
import { textOf } from './users.js';

const LIMIT_MS = 5_000;

/** What the suite on its port says about itself. */
export interface SuiteAnswers {
  /** `other`: something else answers on the port. */
  alive: 'yes' | 'no' | 'other';
  /** Why `/healthz` has no good answer. */
  reason: string;
  ready: { ready: boolean; reason: string } | undefined;
  /** Undefined if it could not be asked; then `healthReason` says why. */
  health: HealthDto | undefined;
  healthReason: string;
  /** Whether the token file cannot be read by this user. */
  needsRoot: boolean;
}

const NOTHING: SuiteAnswers = {
  alive: 'no',
  reason: '',
  ready: undefined,
  health: undefined,
  healthReason: '',
  needsRoot: false,
};

/** Asks `/healthz`, `/readyz` and `/api/v1/health`. */
export async function askSuite({ api, files }: Pick<Settings, 'api' | 'files'>): Promise<SuiteAnswers> {
  const base = `http://${formatHostPort(localHost(api.host), api.port)}`;
  const get = (path: string, headers: Record<string, string> = {}) =>
    fetch(`${base}${path}`, { headers, signal: AbortSignal.timeout(LIMIT_MS), redirect: 'manual' });
  try {
    const alive = (await (await get('/healthz')).json()) as { status?: string };
    if (alive.status !== 'alive') return { ...NOTHING, alive: 'other', reason: 'another program answers' };
  } catch (failure) {
    const isJson = failure instanceof SyntaxError;
    return { ...NOTHING, alive: isJson ? 'other' : 'no', reason: reasonOf(failure) };
  }
  try {
    const { status, reason } = (await (await get('/readyz')).json()) as { status: string; reason?: string };
    const ready = { ready: status === 'ready', reason: reason ?? '' };
    return { ...NOTHING, alive: 'yes', ready, ...(await askHealth(get, files.token)) };
  } catch (failure) {
    return { ...NOTHING, alive: 'yes', healthReason: reasonOf(failure) };
  }
}

type Get = (path: string, headers: Record<string, string>) => Promise<Response>;
type Health = Pick<SuiteAnswers, 'health' | 'healthReason' | 'needsRoot'>;

async function askHealth(get: Get, tokenFile: string): Promise<Health> {
  const text = await textOf(tokenFile);
  const tokens = parse(text ?? '');
  const token = tokens['MCP_TOKEN'] || tokens['MCP_READONLY_TOKEN'];
  if (token === undefined)
    return {
      health: undefined,
      healthReason: `There is no token that this user can read in ${tokenFile}.`,
      needsRoot: text === undefined,
    };
  const response = await get('/api/v1/health', { authorization: `Bearer ${token}` });
  // The suite answers 200 also if a component is down.
  if (response.ok)
    return { health: (await response.json()) as HealthDto, healthReason: '', needsRoot: false };
  await response.body?.cancel();
  return {
    health: undefined,
    healthReason: `The suite answers ${response.status} to its own token in ${tokenFile}.`,
    needsRoot: false,
  };
}

function reasonOf(failure: unknown): string {
  const cause = failure instanceof Error ? failure.cause : undefined;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ECONNREFUSED') return 'nothing listens there';
  if (failure instanceof Error && failure.name === 'TimeoutError')
    return `no answer within ${LIMIT_MS / 1000} s`;
  return failure instanceof SyntaxError ? 'another program answers' : messageOf(cause ?? failure);
}
