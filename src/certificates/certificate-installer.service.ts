import pLimit, { type LimitFunction } from 'p-limit';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../errors/app-error.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { CertificateLoader, isServed } from '../haproxy/certificates/certificate-loader.service.js';
import { HaproxyCertificatesService } from '../haproxy/certificates/haproxy-certificates.service.js';
import { type CertificateBundle, parseBundle } from '../haproxy/certificates/pem.js';
import { PersistenceService } from '../persistence/persistence.service.js';
import { EventFeed } from '../signals/event-feed.js';
import { HaproxyReloadService } from '../sync/haproxy-reload.service.js';

/** How long to wait after a reload until the new worker serves the certificate. */
const NEW_WORKER_MS = 5_000;
const POLL_MS = 20;

/**
 * Installs and removes certificates in both places: the folder, which HAProxy reads when it starts, and the running
 * HAProxy. A change that fails in one place is undone in the other.
 */
@Injectable()
export class CertificateInstaller {
  readonly #logger = new Logger('Certificates');
  readonly #queues = new Map<string, { queue: LimitFunction; users: number }>();

  constructor(
    private readonly folder: CertificateFolder,
    private readonly haproxy: HaproxyCertificatesService,
    private readonly loader: CertificateLoader,
    private readonly reloads: HaproxyReloadService,
    private readonly persistence: PersistenceService,
    private readonly feed: EventFeed,
  ) {}

  /** Runs one change of a domain's certificate at a time. Changes of other domains run at the same time. */
  async exclusively<T>(domain: string, work: () => Promise<T>): Promise<T> {
    const entry = this.#queues.get(domain) ?? { queue: pLimit(1), users: 0 };
    this.#queues.set(domain, entry);
    entry.users += 1;
    try {
      return await entry.queue(work);
    } finally {
      entry.users -= 1;
      if (entry.users === 0) this.#queues.delete(domain);
    }
  }

  /**
   * Checks that HAProxy answers and uses the certificate folder. Call it before work that has a cost.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async check(): Promise<void> {
    await this.haproxy.check();
  }

  /**
   * Writes `bundle` to `path` and makes HAProxy serve it. If that fails, the file and HAProxy are as before.
   *
   * @throws AppError storage_failed, haproxy_rejected, haproxy_unavailable, payload_too_large
   */
  async install(path: string, bundle: CertificateBundle): Promise<void> {
    const isLarge = !(await this.loader.fitsRuntimeApi(bundle));
    const before = await this.folder.read(path);
    if (before !== bundle.pem) await this.folder.write(path, bundle.pem);
    try {
      if (isLarge) await this.#reload(path, bundle);
      else await this.loader.loadBundle(path, bundle);
    } catch (error) {
      await this.#restore(path, before);
      throw error;
    }
    this.feed.publish({ topic: 'certificates' });
  }

  /**
   * Makes HAProxy serve a file that is already in the folder. A certificate that is too large for the Runtime API needs
   * a reload.
   *
   * @throws AppError certificate_not_found, validation_failed (not a certificate with its key), haproxy_rejected,
   * haproxy_unavailable, payload_too_large
   */
  load(path: string): Promise<CertificateBundle> {
    return this.loader.loadFile(path, (file, bundle) => this.#reload(file, bundle));
  }

  /**
   * Removes a certificate from HAProxy, then deletes its file. In the other order, a failure would leave HAProxy with a
   * certificate that no list shows.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable, storage_failed
   */
  async remove(path: string): Promise<void> {
    await this.haproxy.remove(path);
    await this.folder.remove(path);
    this.feed.publish({ topic: 'certificates' });
  }

  /**
   * Removes a certificate from HAProxy and hides its file. The caller deletes the hidden file
   * (`CertificateFolder.removeHidden`).
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable, storage_failed
   */
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

  /**
   * Reloads HAProxy, so that it reads the file. A reload drops no request.
   *
   * @throws AppError haproxy_rejected (HAProxy serves what it served before), haproxy_unavailable
   */
  async #reload(path: string, { leaf }: CertificateBundle): Promise<void> {
    await this.persistence.exclusively(() => this.reloads.reload());
    const end = performance.now() + NEW_WORKER_MS;
    while (!isServed((await this.loader.loaded()).get(path), leaf)) {
      if (performance.now() > end)
        throw new AppError(
          'haproxy_rejected',
          `HAProxy reloaded, but it does not serve ${path}. See the HAProxy log for the reason, then try again.`,
        );
      await delay(POLL_MS);
    }
  }

  async #restore(path: string, before: string | undefined): Promise<void> {
    try {
      if (before === undefined) await this.folder.remove(path);
      else {
        await this.folder.write(path, before);
        // HAProxy may serve the new certificate already. A HAProxy that does not run reads the file when it starts.
        const served = (await this.loader.loaded()).get(path);
        const bundle = parseBundle(before);
        if (!isServed(served, bundle.leaf) && (await this.loader.fitsRuntimeApi(bundle)))
          await this.loader.loadBundle(path, bundle);
      }
    } catch (error) {
      this.#logger.error(`${path} could not be restored to its previous certificate: ${messageOf(error)}`);
    }
  }
}
