import { DEFAULT_PATH, findProgram } from '../../certificates/acme/acme-script.js';
import { runProcessGroup } from '../../certificates/acme/process-group.js';
import type { AcmeSettings } from '../../settings/acme-settings.js';

const LIMIT_SECONDS = 4;

export interface CaAnswer {
  /** The HTTP status; 0 if the CA was not reached. */
  status: number;
  /** Milliseconds by which the clock of this machine is ahead of that of the CA; undefined without a `Date`. */
  aheadMs: number | undefined;
  /** Why the CA was not reached, from curl. */
  reason: string;
}

/** The directories of the CAs that acme.sh knows by a short name (its wiki, "Server"). */
const DIRECTORIES: Readonly<Record<string, string>> = {
  google: 'https://dv.acme-v02.api.pki.goog/directory',
  googletest: 'https://dv.acme-v02.test-api.pki.goog/directory',
  letsencrypt: 'https://acme-v02.api.letsencrypt.org/directory',
  letsencrypt_test: 'https://acme-staging-v02.api.letsencrypt.org/directory',
  zerossl: 'https://acme.zerossl.com/v2/DV90',
  sslcom: 'https://acme.ssl.com/sslcom-dv-rsa',
};

/** The URL of the directory; undefined for a CA that only acme.sh knows. */
export function directoryOf({ server }: Pick<AcmeSettings, 'server'>): string | undefined {
  return server.startsWith('https://') ? server : DIRECTORIES[server];
}

/**
 * Asks the CA with curl and the environment of acme.sh, so that both use the same proxy and CA certificates. Undefined
 * without curl.
 */
export async function askCa(
  settings: AcmeSettings,
  url: string,
  signal: AbortSignal,
): Promise<CaAnswer | undefined> {
  const curl = await findProgram('curl', settings.environment['PATH'] ?? DEFAULT_PATH);
  if (curl === undefined) return undefined;
  const bundle = settings.caBundle === undefined ? [] : ['--cacert', settings.caBundle];
  const { exitCode, output } = await runProcessGroup(
    curl,
    [
      '--silent',
      '--show-error',
      '--max-time',
      String(LIMIT_SECONDS),
      ...bundle,
      '--dump-header',
      '-',
      '--output',
      '/dev/null',
      url,
    ],
    {
      env: { ...settings.environment },
      cwd: '/',
      timeoutMs: (LIMIT_SECONDS + 1) * 1000,
      signal,
    },
  );
  const now = Date.now();
  if (exitCode !== 0)
    return { status: 0, aheadMs: undefined, reason: output.trim().split('\n').at(-1) ?? '' };
  const date = Date.parse(/^date: (.*)$/im.exec(output)?.[1] ?? '');
  const status = [...output.matchAll(/^HTTP\/\S+ (\d{3})/gm)].at(-1)?.[1];
  return { status: Number(status ?? 0), aheadMs: Number.isNaN(date) ? undefined : now - date, reason: '' };
}
