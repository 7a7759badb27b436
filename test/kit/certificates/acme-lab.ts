import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { type ApiResponse, CertificateLab } from './certificate-lab.js';
import { type FakeCloudflare, startFakeCloudflare } from './fake-cloudflare.js';
import { type Pebble, type PebbleOptions, startPebble } from './pebble.js';
import { until } from '../poll.js';
import { toolPath } from '../tool-path.js';

/** A certificate lab with the real acme.sh, its unmodified Cloudflare hook, a fake Cloudflare and its own CA. */
export class AcmeLab {
  private constructor(
    readonly token: string,
    readonly pebble: Pebble,
    readonly cloudflare: FakeCloudflare,
    readonly lab: CertificateLab,
    /** The settings that make the suite use acme.sh, the CA and the fake Cloudflare. */
    readonly env: Readonly<Record<string, string>>,
  ) {}

  static async start(
    options: PebbleOptions & { zones?: readonly string[]; env?: Record<string, string> } = {},
  ): Promise<AcmeLab> {
    const token = `cf-token-${randomBytes(12).toString('hex')}`;
    const pebble = await startPebble(options);
    const cloudflare = await startFakeCloudflare(pebble, token);
    for (const zone of options.zones ?? []) cloudflare.zones.add(zone);
    const env = {
      HOME: cloudflare.home,
      ACME_SH: toolPath('acme.sh'),
      ACME_SERVER: pebble.directory,
      ACME_CA_BUNDLE: pebble.caBundle,
      ACME_DNS_SLEEP: '0',
      CF_Token: token,
    };
    try {
      const lab = await CertificateLab.start({ env: { ...env, ...options.env } });
      return new AcmeLab(token, pebble, cloudflare, lab, env);
    } catch (error) {
      await cloudflare.close();
      await pebble.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.lab.stop();
    await this.cloudflare.close();
    await this.pebble.stop();
  }

  issue(body: object): Promise<ApiResponse> {
    return this.lab.api('POST', '/certificates?wait=true', body);
  }

  renew(domain: string): Promise<ApiResponse> {
    return this.lab.api('POST', `/certificates/${domain}/renew?wait=true`, { force: true });
  }

  /**
   * Deletes the ACME account, so that the CA requires a TXT record for each domain again. Without this, Pebble 2.6 reuses
   * an authorization of the account in one of 100 orders, even if that is disabled (`rand.Intn(100) > 0`).
   */
  async resetAccount(): Promise<void> {
    await rm(this.lab.path('acme/config/ca'), { recursive: true, force: true });
  }

  /**
   * Starts work that creates a TXT record, and resolves when acme.sh waits for the response of the DNS provider. The work
   * stays there until it is stopped or `release` is called.
   */
  async hold<T>(start: () => T): Promise<{ work: T }> {
    await this.resetAccount();
    const record = this.cloudflare.holdRecord();
    const work = start();
    await until(() => record.isCreated, { timeout: 60_000, what: 'a TXT record of acme.sh' });
    return { work };
  }

  /** Sends the response that `hold` holds back. */
  release(): void {
    this.cloudflare.releaseRecord();
  }
}
