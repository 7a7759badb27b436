import { basename } from 'node:path';
import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../../errors/app-error.js';
import { EventFeed } from '../../signals/event-feed.js';
import type { HaproxyCertificate } from '../parsers/ssl-cert.parser.js';
import { CertificateFolder, type CertificateFile } from './certificate-folder.js';
import { CertificateRivals } from './certificate-rivals.js';
import { HaproxyCertificatesService } from './haproxy-certificates.service.js';
import { type CertificateBundle } from './pem.js';
import { ServedCertificates } from './served-certificates.service.js';

/** Makes HAProxy serve a certificate that is too large for the Runtime API, from its file. */
type LoadLarge = (path: string, bundle: CertificateBundle) => Promise<void>;

/** Loads certificate files of the folder into the running HAProxy. */
@Injectable()
export class CertificateLoader {
  readonly #logger = new Logger('Certificates');
  /** File names that were chosen to win against their rivals, the last choice last. Set by the owner of the choices. */
  preferred: readonly string[] = [];

  constructor(
    private readonly folder: CertificateFolder,
    private readonly haproxy: HaproxyCertificatesService,
    private readonly served: ServedCertificates,
    private readonly feed: EventFeed,
  ) {}

  /** All certificates that HAProxy has, by the path of the file. @throws AppError haproxy_unavailable */
  loaded(): Promise<Map<string, HaproxyCertificate>> {
    return this.haproxy.loaded();
  }

  /** The certificate that HAProxy has for the file at `path`. @throws AppError haproxy_unavailable */
  loadedAt(path: string): Promise<HaproxyCertificate | undefined> {
    return this.haproxy.loadedAt(path);
  }

  /** Whether the certificate is small enough for one command of the Runtime API. A larger one needs a reload. */
  async fitsRuntimeApi({ pem }: CertificateBundle): Promise<boolean> {
    return pem.length <= (await this.haproxy.payloadLimit());
  }

  /**
   * Makes HAProxy serve `bundle` as the certificate of the file at `path`.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async loadBundle(path: string, bundle: CertificateBundle): Promise<void> {
    const { leaf } = bundle;
    try {
      const served = await this.haproxy.put(path, bundle);
      if (!isServed(served, leaf))
        throw new AppError(
          'haproxy_rejected',
          `HAProxy accepted ${path}, but shows the serial number ${served.serial ?? 'none'} (${served.status}) instead of ` +
            `${leaf.serialNumber}. See the HAProxy log for the reason, then try again.`,
        );
    } finally {
      this.served.forget(leaf);
    }
  }

  /**
   * Makes HAProxy serve the file at `path`. `loadLarge` handles a certificate that is too large for the Runtime API; by
   * default that is an error.
   *
   * @throws AppError certificate_not_found, validation_failed (not a certificate with its key), payload_too_large,
   * haproxy_rejected, haproxy_unavailable
   */
  async loadFile(path: string, loadLarge: LoadLarge = rejectLarge): Promise<CertificateBundle> {
    for (;;) {
      const stamp = await this.folder.stampOf(path);
      const bundle = await this.folder.readBundle(path);
      if (bundle === undefined)
        throw new AppError(
          'certificate_not_found',
          `${path} was deleted while it was loaded. List the certificates with {haproxy_list_certs}.`,
        );
      if (await this.fitsRuntimeApi(bundle)) await this.loadBundle(path, bundle);
      else if (!isServed(await this.loadedAt(path), bundle.leaf)) await loadLarge(path, bundle);
      this.feed.publish({ topic: 'certificates' });
      if ((await this.folder.stampOf(path)) === stamp) return bundle;
      const now = await this.folder.readBundle(path).catch(() => null);
      if (now === null || now?.pem === bundle.pem) return bundle;
      // The file was replaced or deleted during the load. HAProxy must serve what is in the folder.
      if (now === undefined) await this.remove(path, bundle.leaf);
    }
  }

  /**
   * Removes the certificate of the file at `path` from HAProxy. `leaf`: what visitors got until now, if it is known.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  async remove(path: string, leaf?: CertificateFile['leaf']): Promise<void> {
    try {
      await this.haproxy.remove(path);
    } finally {
      this.served.forget(leaf);
    }
  }

  /** The files that compete for a name with `leaf` at `path`. `leaf` need not be in the folder yet. */
  async rivals(path: string, leaf: CertificateFile['leaf']): Promise<string[]> {
    return (await this.order(path, leaf)).filter((other) => other !== path);
  }

  /** The file at `path` and its rivals, in the order in which HAProxy must have them once this file is chosen. */
  async order(path: string, leaf: CertificateFile['leaf']): Promise<string[]> {
    const { files } = await this.folder.list();
    const others = files.filter((file) => file.path !== path);
    const preferred = withChoice(this.preferred, [basename(path)]);
    return new CertificateRivals([...others, { path, leaf }], preferred).orderOf(path);
  }

  /** From now on these files win against their rivals. `enforceOrder` makes HAProxy do so. */
  choose(paths: readonly string[]): void {
    this.preferred = withChoice(
      this.preferred,
      paths.map((path) => basename(path)),
    );
  }

  /**
   * Commits certificates again, so that HAProxy has them in this order, after every other certificate. A file that
   * HAProxy does not have stays out.
   *
   * @returns the files that were committed again, and those that cannot be (too large, or not valid any more)
   * @throws AppError haproxy_unavailable
   */
  async moveToEnd(paths: readonly string[]): Promise<{ moved: string[]; stuck: string[] }> {
    const moved: string[] = [];
    const stuck: string[] = [];
    const loaded = await this.haproxy.names();
    for (const path of paths.filter((other) => loaded.has(other))) {
      try {
        const bundle = await this.folder.readBundle(path);
        if (bundle && !(await this.fitsRuntimeApi(bundle))) {
          stuck.push(path);
          continue;
        }
        await this.loadFile(path);
        moved.push(path);
      } catch (error) {
        if (error instanceof AppError && error.code === 'haproxy_unavailable') throw error;
        this.#logger.error(`${path} cannot be loaded again, so visitors may get it: ${messageOf(error)}`);
        stuck.push(path);
      }
    }
    return { moved, stuck };
  }

  /**
   * Loads every file of the folder that HAProxy does not serve, and returns how many it loaded. Then gives competing
   * certificates their order again, because HAProxy starts with them in the order of their file names. Logs a file that
   * cannot be loaded, and continues with the next.
   *
   * @throws AppError haproxy_unavailable
   */
  async restore(): Promise<number> {
    const { files, broken } = await this.folder.list();
    for (const { path, reason } of broken)
      this.#logger.error(`HAProxy does not start with ${path}: ${reason}. Correct or remove the file.`);
    const restored: string[] = [];
    for (const path of await this.#unservedOf(files)) {
      try {
        await this.loadFile(path);
        restored.push(path);
      } catch (error) {
        this.#logger.error(`HAProxy could not load ${path}: ${messageOf(error)}`);
      }
    }
    await this.#restoreOrder(files, restored);
    if (restored.length > 0)
      this.#logger.log(`Loaded ${restored.length} certificate(s) that were missing in HAProxy`);
    return restored.length;
  }

  /** Orders the certificates that were chosen to win, and those that were just loaded, with their rivals. */
  async #restoreOrder(files: readonly CertificateFile[], restored: readonly string[]): Promise<void> {
    const rivals = new CertificateRivals(files, this.preferred);
    const orders = new Map(rivals.preferredOrders().map((order) => [order.toSorted().join(' '), order]));
    for (const path of restored) {
      const order = rivals.orderOf(path);
      if (order.length > 1) orders.set(order.toSorted().join(' '), order);
    }
    for (const order of orders.values()) {
      const { moved } = await this.moveToEnd(order.slice(1));
      if (moved.length > 0)
        this.#logger.log(`${order[0]} has precedence over ${moved.map((path) => basename(path)).join(', ')}`);
    }
  }

  /** The files that `restore` would load. @throws AppError haproxy_unavailable */
  async unserved(): Promise<string[]> {
    return this.#unservedOf((await this.folder.list()).files);
  }

  async #unservedOf(files: readonly CertificateFile[]): Promise<string[]> {
    if (files.length === 0) return [];
    const loaded = await this.loaded();
    return files.filter(({ path, leaf }) => !isServed(loaded.get(path), leaf)).map(({ path }) => path);
  }
}

/** The choices after these files are chosen. */
export function withChoice(preferred: readonly string[], chosen: readonly string[]): string[] {
  return [...preferred.filter((name) => !chosen.includes(name)), ...chosen];
}

/**
 * Whether HAProxy has this certificate in memory and in a list of a bind. Visitors may still get another one
 * (`ServedCertificates`). Compares fingerprints, because two CAs may use the same serial.
 */
export function isServed(
  served: HaproxyCertificate | undefined,
  leaf: Pick<CertificateFile['leaf'], 'fingerprint'>,
): boolean {
  return served?.status === 'Used' && served.fingerprint === leaf.fingerprint.replaceAll(':', '');
}

function rejectLarge(path: string): Promise<never> {
  return Promise.reject(
    new AppError(
      'payload_too_large',
      `${path} is too large for the Runtime API of HAProxy, so HAProxy does not serve it yet. Reload HAProxy with ` +
        '{haproxy_reload}.',
    ),
  );
}
