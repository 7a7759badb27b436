import { messageOf } from '../../errors/app-error.js';
import type { HealthDto } from '../../health/health.dto.js';
import { httpFetch } from '../../lib/http-fetch.js';
import { LocalSuite, NotTheSuiteError, readToken } from '../../settings/local-suite.js';
import type { Settings } from '../../settings/settings.js';

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
export async function askSuite(settings: Pick<Settings, 'api' | 'home' | 'files'>): Promise<SuiteAnswers> {
  const suite = new LocalSuite(settings);
  const get = (path: string, headers: Record<string, string> = {}) =>
    httpFetch(() => suite.connect(), `${suite.url}${path}`, {
      headers,
      signal: AbortSignal.timeout(LIMIT_MS),
    });
  try {
    const alive = (await (await get('/healthz')).json()) as { status?: string };
    if (alive.status !== 'alive') return { ...NOTHING, alive: 'other', reason: 'another program answers' };
  } catch (failure) {
    const isOther = failure instanceof SyntaxError || failure instanceof NotTheSuiteError;
    return { ...NOTHING, alive: isOther ? 'other' : 'no', reason: reasonOf(failure) };
  }
  try {
    const { status, reason } = (await (await get('/readyz')).json()) as { status: string; reason?: string };
    const ready = { ready: status === 'ready', reason: reason ?? '' };
    return { ...NOTHING, alive: 'yes', ready, ...(await askHealth(get, settings.files.token)) };
  } catch (failure) {
    return { ...NOTHING, alive: 'yes', healthReason: reasonOf(failure) };
  }
}

type Get = (path: string, headers: Record<string, string>) => Promise<Response>;
type Health = Pick<SuiteAnswers, 'health' | 'healthReason' | 'needsRoot'>;

async function askHealth(get: Get, tokenFile: string): Promise<Health> {
  let needsRoot = false;
  const token = await readToken(tokenFile).catch(() => {
    needsRoot = true;
    return undefined;
  });
  if (token === undefined)
    return {
      health: undefined,
      healthReason: `There is no token that this user can read in ${tokenFile}.`,
      needsRoot,
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
  if (failure instanceof NotTheSuiteError) return failure.listener;
  if ((failure as NodeJS.ErrnoException).code === 'ECONNREFUSED') return 'nothing listens there';
  if (failure instanceof Error && ['AbortError', 'TimeoutError'].includes(failure.name))
    return `no answer within ${LIMIT_MS / 1000} s`;
  return failure instanceof SyntaxError ? 'another program answers' : messageOf(failure);
}
