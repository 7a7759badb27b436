import pLimit, { type LimitFunction } from 'p-limit';
import { basename } from 'node:path';
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

/** What was done so that visitors get one certificate and not another one of the same name. */
export interface Precedence {
  /** The other certificates, which HAProxy now has after this one. */
  rivals: string[];
  /** Why visitors still get another certificate. */
  warnings: string[];
}

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
   * Writes `given` to `path` and makes visitors get it instead of its `rivals`. If that fails, the file and HAProxy are
   * as before.
   *
   * @throws AppError storage_failed, haproxy_rejected, haproxy_unavailable, payload_too_large
   */
  async install(path: string, given: CertificateBundle, rivals: readonly string[]): Promise<Precedence> {
    const isLarge = !(await this.loader.fitsRuntimeApi(given));
    const before = await this.folder.read(path);
    // The same certificate again keeps its OCSP response and its other parts.
    const isSame = before !== undefined && isPemOf(before, given);
    const same = isSame ? await this.folder.readBundle(path) : undefined;
    const bundle = same ?? given;
    const undoChoice = this.#choose(path, rivals);
    const restoreParts = await this.#writeFile(path, before, isSame, bundle.pem).catch((error: unknown) => {
      undoChoice();
      throw error;
    });
    try {
      if (isLarge) await this.#reload(path, bundle);
      else await this.loader.loadBundle(path, bundle);
      const precedence = await this.#takePrecedence(path, bundle);
      this.feed.publish({ topic: 'certificates' });
      return precedence;
    } catch (error) {
      undoChoice();
      await restoreParts();
      await this.#restore(path, before);
      throw error;
    }
  }

  /**
   * Makes visitors get a file that is already in the folder, instead of its `rivals`. A certificate that is too large
   * for the Runtime API needs a reload.
   *
   * @throws AppError certificate_not_found, validation_failed (not a certificate with its key), haproxy_rejected,
   * haproxy_unavailable, payload_too_large
   */
  async load(
    path: string,
    rivals: readonly string[],
  ): Promise<{ bundle: CertificateBundle; precedence: Precedence }> {
    const undoChoice = this.#choose(path, rivals);
    try {
      const bundle = await this.loader.loadFile(path, (file, large) => this.#reload(file, large));
      return { bundle, precedence: await this.#takePrecedence(path, bundle) };
    } catch (error) {
      undoChoice();
      throw error;
    }
  }

  /**
   * The other certificates for the names of `leaf`, which is or will be the certificate of the file at `path`.
   */
  rivals(path: string, leaf: CertificateBundle['leaf']): Promise<string[]> {
    return this.loader.rivals(path, leaf);
  }

  /** The file names to keep in certificates.json so that the certificate at `path` wins against its rivals. */
  choiceOf(path: string, rivals: readonly string[]): string[] {
    return rivals.length > 0 ? [basename(path)] : [];
  }

  /**
   * Removes a certificate from HAProxy, then deletes its file. In the other order, a failure would leave HAProxy with a
   * certificate that no list shows.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable, storage_failed
   */
  async remove(path: string): Promise<void> {
    await this.loader.remove(path);
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
      await this.loader.remove(path);
    } catch (error) {
      await this.folder.unhide(path);
      throw error;
    }
    this.feed.publish({ topic: 'certificates' });
  }

  /** A reload restores this choice too. Returns the undo. */
  #choose(path: string, rivals: readonly string[]): () => void {
    const { loader } = this;
    const name = basename(path);
    if (rivals.length === 0 || loader.preferred.at(-1) === name) return () => undefined;
    const wasChosen = loader.preferred.includes(name);
    loader.choose([path]);
    return () => {
      if (!wasChosen) loader.preferred = loader.preferred.filter((other) => other !== name);
    };
  }

  /**
   * Moves the rivals behind the certificate. HAProxy up to 3.3 cannot do that with a rival that is too large for the
   * Runtime API. Then the order of the file names at a reload decides.
   */
  async #takePrecedence(path: string, { leaf }: CertificateBundle): Promise<Precedence> {
    // Read again: another change may have added a certificate since then.
    const order = await this.loader.order(path, leaf);
    const rivals = order.filter((other) => other !== path);
    if (rivals.length === 0) return { rivals: [], warnings: [] };
    const result = await this.loader.moveToEnd(order.slice(1));
    const { stuck } = result;
    const moved = result.moved.filter((other) => other !== path);
    const [first] = stuck;
    if (first === undefined) return { rivals: moved, warnings: [] };
    if (stuck.every((rival) => basename(path) < basename(rival))) {
      // The restore after the reload moves the other rivals again.
      await this.persistence.exclusively(() => this.reloads.reload());
      return { rivals: [...rivals], warnings: [] };
    }
    return {
      rivals: moved,
      warnings: [
        `HAProxy has ${first} before this certificate, and cannot load it again while it runs. Delete ${basename(first)}, ` +
          `or rename it so that it sorts after ${basename(path)}, and reload HAProxy.`,
      ],
    };
  }

  /**
   * Reloads HAProxy, so that it reads the file. A reload drops no request.
   *
   * @throws AppError haproxy_rejected (HAProxy serves what it served before), haproxy_unavailable
   */
  async #reload(path: string, { leaf }: CertificateBundle): Promise<void> {
    await this.persistence.exclusively(() => this.reloads.reload());
    const end = performance.now() + NEW_WORKER_MS;
    while (!isServed(await this.loader.loadedAt(path), leaf)) {
      if (performance.now() > end)
        throw new AppError(
          'haproxy_rejected',
          `HAProxy reloaded, but it does not serve ${path}. See the HAProxy log for the reason, then try again.`,
        );
      await delay(POLL_MS);
    }
  }

  /**
   * Replaces the file, and deletes the parts of the earlier certificate first: HAProxy might not start with them. Returns
   * the undo for the parts.
   */
  async #writeFile(
    path: string,
    before: string | undefined,
    isSame: boolean,
    pem: string,
  ): Promise<() => Promise<void>> {
    if (before === pem) return () => Promise.resolve();
    const restore = isSame ? () => Promise.resolve() : await this.folder.removeStaleParts(path);
    const restoreParts = () =>
      restore().catch((error: unknown) => {
        this.#logger.error(`The files beside ${path} could not be restored: ${messageOf(error)}`);
      });
    try {
      await this.folder.write(path, pem);
    } catch (error) {
      await restoreParts();
      throw error;
    }
    return restoreParts;
  }

  /** Undoes `install`: the file first, then HAProxy, which may have the new certificate already. */
  async #restore(path: string, before: string | undefined): Promise<void> {
    try {
      if (before === undefined) {
        await this.folder.remove(path);
        // HAProxy that does not answer reads the folder when it starts.
        await this.loader.remove(path).catch(() => undefined);
        return;
      }
      await this.folder.write(path, before);
      const bundle = parseBundle(before);
      if (isServed(await this.loader.loadedAt(path), bundle.leaf)) return;
      if (await this.loader.fitsRuntimeApi(bundle)) await this.loader.loadBundle(path, bundle);
      else await this.#reload(path, bundle);
    } catch (error) {
      this.#logger.error(`${path} could not be restored to its previous certificate: ${messageOf(error)}`);
    }
  }
}

/** Whether the text of a file has the same certificate, chain and key. */
export function isPemOf(text: string, { pem }: CertificateBundle): boolean {
  try {
    return text === pem || parseBundle(text).pem === pem;
  } catch {
    return false;
  }
}
