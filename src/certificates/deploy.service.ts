import { Injectable, Logger } from '@nestjs/common';
import { EventFeed } from '../signals/event-feed.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { HaproxyCertificatesService } from '../haproxy/certificates/haproxy-certificates.service.js';
import type { HaproxyCertificate } from '../haproxy/parsers/ssl-cert.parser.js';
import { CertificateFolder, type CertificateFile } from '../haproxy/certificates/certificate-folder.js';
import { LargeCertificates } from './large-certificates.service.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';

/**
 * Puts certificates where HAProxy serves them from: into the folder, for its next start, and into the process that
 * runs. Both or neither.
 */
@Injectable()
export class DeployService {
  readonly #logger = new Logger('Certificates');

  constructor(
    private readonly folder: CertificateFolder,
    private readonly haproxy: HaproxyCertificatesService,
    private readonly large: LargeCertificates,
    private readonly feed: EventFeed,
  ) {}

  /** Before work that costs something: whether a certificate could be deployed now. @throws as `put` */
  async check(): Promise<void> {
    await this.haproxy.check();
  }

  /** Whether HAProxy takes it at run time; what is larger costs a reload. */
  async isTaken({ pem }: CertificateBundle): Promise<boolean> {
    return pem.length <= (await this.haproxy.payloadLimit());
  }

  /**
   * Writes `bundle` to `path` and makes HAProxy serve it. After a throw file and HAProxy are as before.
   *
   * @throws AppError storage_failed, haproxy_rejected, haproxy_unavailable, payload_too_large
   */
  async put(path: string, bundle: CertificateBundle): Promise<void> {
    const isLarge = !(await this.isTaken(bundle));
    const before = await this.folder.read(path);
    if (before !== bundle.pem) await this.folder.write(path, bundle.pem);
    try {
      if (isLarge) await this.#reload(path, bundle);
      else await this.#put(path, bundle);
    } catch (error) {
      await this.#putBack(path, before);
      throw error;
    }
    this.feed.publish({ topic: 'certificates' });
  }

  /**
   * Makes HAProxy serve what lies in the folder already. `mayReload` allows a reload for what is too large for
   * anything else.
   *
   * @throws AppError validation_failed where it is no certificate with its key; as `put`
   */
  async load(path: string, mayReload: boolean): Promise<CertificateBundle> {
    for (;;) {
      const text = await this.folder.read(path);
      if (text === undefined) throw new AppError('certificate_not_found', `${path} does not exist any more.`);
      const bundle = parseBundle(text);
      if (await this.isTaken(bundle)) await this.#put(path, bundle);
      else if (!isServed((await this.loaded()).get(path), bundle.leaf)) {
        if (!mayReload) throw this.large.needsReload(path);
        await this.#reload(path, bundle);
      }
      this.feed.publish({ topic: 'certificates' });
      const now = await this.folder.read(path);
      if (now === text) return bundle;
      // Replaced or deleted meanwhile: what lies in the folder is what counts.
      if (now === undefined) await this.haproxy.remove(path);
    }
  }

  /** HAProxy first: a file that is gone while it is still served could not be listed any more. */
  async remove(path: string): Promise<void> {
    await this.haproxy.remove(path);
    await this.folder.remove(path);
    this.feed.publish({ topic: 'certificates' });
  }

  /** As `remove`, with the file put aside: the caller deletes it (`CertificateFolder.removeHidden`). */
  async hide(path: string): Promise<void> {
    await this.folder.hide(path);
    try {
      await this.haproxy.remove(path);
    } catch (error) {
      await this.folder.unhide(path);
      throw error;
    }
    this.feed.publish({ topic: 'certificates' });
  }

  /** HAProxy's view of every certificate, by path. */
  loaded(): Promise<Map<string, HaproxyCertificate>> {
    return this.haproxy.loaded();
  }

  async #put(path: string, { pem, leaf }: CertificateBundle): Promise<void> {
    const served = await this.haproxy.put(path, pem);
    if (!isServed(served, leaf))
      throw new AppError(
        'haproxy_rejected',
        `HAProxy took ${path} but shows serial ${served.serial ?? 'none'} (${served.status}) instead of ${leaf.serialNumber}. See its log.`,
      );
  }

  async #reload(path: string, { leaf }: CertificateBundle): Promise<void> {
    await this.large.reloadUntil(path, async () => isServed((await this.loaded()).get(path), leaf));
  }

  async #putBack(path: string, before: string | undefined): Promise<void> {
    try {
      if (before === undefined) await this.folder.remove(path);
      else {
        await this.folder.write(path, before);
        // Where HAProxy took the new one and something failed after it. While it is away, its start reads the file.
        const served = (await this.loaded()).get(path);
        const bundle = parseBundle(before);
        if (!isServed(served, bundle.leaf) && (await this.isTaken(bundle))) await this.#put(path, bundle);
      }
    } catch (error) {
      this.#logger.error(`${path} could not be put back as it was: ${messageOf(error)}`);
    }
  }
}

/** Whether HAProxy serves this very certificate. A serial alone could be that of another CA. */
export function isServed(
  served: HaproxyCertificate | undefined,
  leaf: Pick<CertificateFile['leaf'], 'fingerprint'>,
): boolean {
  return served?.status === 'Used' && served.fingerprint === leaf.fingerprint.replaceAll(':', '');
}
