import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { EventFeed } from '../signals/event-feed.js';
import { AppError, messageOf } from '../errors/app-error.js';
import { CertificateLoader, isServed } from '../haproxy/certificates/certificate-loader.service.js';
import { HaproxyCertificatesService } from '../haproxy/certificates/haproxy-certificates.service.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { HaproxyReloadService } from '../sync/haproxy-reload.service.js';

/** How long the new worker of a reload may take until it is the one that answers. */
const NEW_WORKER_MS = 5_000;
const POLL_MS = 20;

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
    private readonly loader: CertificateLoader,
    private readonly reloads: HaproxyReloadService,
    private readonly persistence: PersistenceService,
    private readonly feed: EventFeed,
  ) {}

  /** Whether a certificate could be deployed now; call it before work that has a cost. @throws as `put` */
  async check(): Promise<void> {
    await this.haproxy.check();
  }

  /**
   * Writes `bundle` to `path` and makes HAProxy serve it. After a throw file and HAProxy are as before.
   *
   * @throws AppError storage_failed, haproxy_rejected, haproxy_unavailable, payload_too_large
   */
  async put(path: string, bundle: CertificateBundle): Promise<void> {
    const isLarge = !(await this.loader.isTaken(bundle));
    const before = await this.folder.read(path);
    if (before !== bundle.pem) await this.folder.write(path, bundle.pem);
    try {
      if (isLarge) await this.#reload(path, bundle);
      else await this.loader.put(path, bundle);
    } catch (error) {
      await this.#putBack(path, before);
      throw error;
    }
    this.feed.tell({ topic: 'certificates' });
  }

  /**
   * Makes HAProxy serve a file that is in the folder already. A certificate that is too large for run time costs a
   * reload.
   *
   * @throws AppError validation_failed where it is no certificate with its key; as `put`
   */
  load(path: string): Promise<CertificateBundle> {
    return this.loader.load(path, (file, bundle) => this.#reload(file, bundle));
  }

  /** HAProxy first: a file that is gone while it is still served could not be listed any more. */
  async remove(path: string): Promise<void> {
    await this.haproxy.remove(path);
    await this.folder.remove(path);
    this.feed.tell({ topic: 'certificates' });
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
    this.feed.tell({ topic: 'certificates' });
  }

  /**
   * HAProxy reads the file with a reload, which costs no request.
   *
   * @throws AppError haproxy_rejected (HAProxy serves as before), haproxy_unavailable
   */
  async #reload(path: string, { leaf }: CertificateBundle): Promise<void> {
    await this.persistence.exclusively(() => this.reloads.reload());
    const end = performance.now() + NEW_WORKER_MS;
    while (!isServed((await this.loader.loaded()).get(path), leaf)) {
      if (performance.now() > end)
        throw new AppError('haproxy_rejected', `HAProxy reloaded but does not serve ${path}. See its log.`);
      await delay(POLL_MS);
    }
  }

  async #putBack(path: string, before: string | undefined): Promise<void> {
    try {
      if (before === undefined) await this.folder.remove(path);
      else {
        await this.folder.write(path, before);
        // Where HAProxy took the new one and something failed after it. While it is away, its start reads the file.
        const served = (await this.loader.loaded()).get(path);
        const bundle = parseBundle(before);
        if (!isServed(served, bundle.leaf) && (await this.loader.isTaken(bundle)))
          await this.loader.put(path, bundle);
      }
    } catch (error) {
      this.#logger.error(`${path} could not be put back as it was: ${messageOf(error)}`);
    }
  }
}
