import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../../errors/app-error.js';
import { EventFeed } from '../../signals/event-feed.js';
import type { HaproxyCertificate } from '../parsers/ssl-cert.parser.js';
import { CertificateFolder, type CertificateFile } from './certificate-folder.js';
import { HaproxyCertificatesService } from './haproxy-certificates.service.js';
import { type CertificateBundle, parseBundle } from './pem.js';

/** Makes HAProxy serve a certificate that is too large for the Runtime API, from its file. */
type LoadLarge = (path: string, bundle: CertificateBundle) => Promise<void>;

/** Loads certificate files of the folder into the running HAProxy. */
@Injectable()
export class CertificateLoader {
  readonly #logger = new Logger('Certificates');

  constructor(
    private readonly folder: CertificateFolder,
    private readonly haproxy: HaproxyCertificatesService,
    private readonly feed: EventFeed,
  ) {}

  /** All certificates that HAProxy has, by the path of the file. @throws AppError haproxy_unavailable */
  loaded(): Promise<Map<string, HaproxyCertificate>> {
    return this.haproxy.loaded();
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
  async loadBundle(path: string, { pem, leaf }: CertificateBundle): Promise<void> {
    const served = await this.haproxy.put(path, pem);
    if (!isServed(served, leaf))
      throw new AppError(
        'haproxy_rejected',
        `HAProxy accepted ${path}, but shows the serial number ${served.serial ?? 'none'} (${served.status}) instead of ` +
          `${leaf.serialNumber}. See the HAProxy log for the reason, then try again.`,
      );
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
      const text = await this.folder.read(path);
      if (text === undefined)
        throw new AppError(
          'certificate_not_found',
          `${path} was deleted while it was loaded. List the certificates with haproxy_list_certs.`,
        );
      const bundle = parseBundle(text);
      if (await this.fitsRuntimeApi(bundle)) await this.loadBundle(path, bundle);
      else if (!isServed((await this.loaded()).get(path), bundle.leaf)) await loadLarge(path, bundle);
      this.feed.publish({ topic: 'certificates' });
      const now = await this.folder.read(path);
      if (now === text) return bundle;
      // The file was replaced or deleted during the load. HAProxy must serve what is in the folder.
      if (now === undefined) await this.haproxy.remove(path);
    }
  }

  /**
   * Loads every file of the folder that HAProxy does not serve, and returns how many it loaded. Logs a file that
   * cannot be loaded, and continues with the next.
   *
   * @throws AppError haproxy_unavailable
   */
  async restore(): Promise<number> {
    const { files, broken } = await this.folder.list();
    for (const { path, reason } of broken)
      this.#logger.error(`HAProxy cannot start with ${path}: ${reason}. Replace or delete the file.`);
    let restored = 0;
    for (const path of await this.#unservedOf(files)) {
      try {
        await this.loadFile(path);
        restored += 1;
      } catch (error) {
        this.#logger.error(`HAProxy could not load ${path}: ${messageOf(error)}`);
      }
    }
    if (restored > 0) this.#logger.log(`Loaded ${restored} certificate(s) that were missing in HAProxy`);
    return restored;
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

/** Whether HAProxy serves this certificate. Compares fingerprints, because two CAs may use the same serial. */
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
        'haproxy_reload.',
    ),
  );
}
