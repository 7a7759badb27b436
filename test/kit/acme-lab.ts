import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { type Answer, CertificateLab } from './certificate-lab.js';
import { type FakeCloudflare, startFakeCloudflare } from './fake-cloudflare.js';
import { type Pebble, type PebbleOptions, startPebble } from './pebble.js';
import { until } from './poll.js';
import { toolPath } from './tool-path.js';

/** A certificate lab with the real acme.sh, its unmodified Cloudflare hook, and a CA of its own. */
export class AcmeLab {
  private constructor(
    readonly token: string,
    readonly pebble: Pebble,
    readonly cloudflare: FakeCloudflare,
    readonly lab: CertificateLab,
    /** What acme.sh needs to be set. */
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

  issue(body: object): Promise<Answer> {
    return this.lab.api('POST', '/certificates?wait=true', body);
  }

  renew(domain: string): Promise<Answer> {
    return this.lab.api('POST', `/certificates/${domain}/renew?wait=true`, { force: true });
  }

  /**
   * As for domains that were never proven, the CA wants a record. Pebble 2.6 takes the proof of an earlier order of
   * the account for another once in a hundred times, however it is told not to (`rand.Intn(100) > 0`).
   */
  async withoutProofs(): Promise<void> {
    await rm(this.lab.path('acme/config/ca'), { recursive: true, force: true });
  }

  /**
   * Begins work that needs a record, and comes back when acme.sh waits for the answer to it: until then nothing is
   * decided, and the work stays there until it is ended or the record released.
   */
  async hold<T>(begin: () => T): Promise<{ work: T }> {
    await this.withoutProofs();
    const record = this.cloudflare.holdRecord();
    const work = begin();
    await until(() => record.isMade, { timeout: 60_000, what: 'acme.sh making a record' });
    return { work };
  }

  release(): void {
    this.cloudflare.releaseRecord();
  }
}
