import { Injectable, Logger } from '@nestjs/common';
import { AppError, messageOf } from '../common/errors.js';
import { HaproxyCertificatesService } from '../haproxy/haproxy-certificates.service.js';
import type { HaproxyCertificate } from '../haproxy/ssl-cert.parser.js';
import { CertificateFolder, type CertificateFile } from './certificate-folder.js';
import { type CertificateBundle, parseBundle } from './pem.js';

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
  ) {}

  /** Before work that costs something: whether a certificate could be deployed now. @throws as `put` */
  async check(): Promise<void> {
    await this.haproxy.check();
  }

  /**
   * Writes `bundle` to `path` and makes HAProxy serve it. After a throw file and HAProxy are as before.
   *
   * @throws AppError storage_failed, haproxy_rejected, haproxy_unavailable, payload_too_large
   */
  async put(path: string, bundle: CertificateBundle): Promise<void> {
    const limit = await this.haproxy.payloadLimit();
    if (bundle.pem.length > limit) throw tooLarge(bundle.pem.length, limit);
    const before = await this.folder.read(path);
    if (before !== bundle.pem) await this.folder.write(path, bundle.pem);
    try {
      const served = await this.haproxy.put(path, bundle.pem);
      if (!isServed(served, bundle.leaf))
        throw new AppError(
          'haproxy_rejected',
          `HAProxy took ${path} but shows serial ${served.serial ?? 'none'} (${served.status}) instead of ${bundle.leaf.serialNumber}. See its log.`,
        );
    } catch (error) {
      await this.#putBack(path, before);
      throw error;
    }
  }

  /** What lies in the folder already. @throws AppError validation_failed where it is no certificate with its key */
  async load(path: string): Promise<CertificateBundle> {
    const text = await this.folder.read(path);
    if (text === undefined) throw new AppError('certificate_not_found', `${path} does not exist any more.`);
    const bundle = parseBundle(text);
    const limit = await this.haproxy.payloadLimit();
    if (bundle.pem.length > limit) throw tooLarge(bundle.pem.length, limit);
    const served = await this.haproxy.put(path, bundle.pem);
    if (!isServed(served, bundle.leaf))
      throw new AppError('haproxy_rejected', `HAProxy took ${path} but does not serve it. See its log.`);
    return bundle;
  }

  /** HAProxy first: a file that is gone while it is still served could not be listed any more. */
  async remove(path: string): Promise<void> {
    await this.haproxy.remove(path);
    await this.folder.remove(path);
  }

  /** HAProxy's view of every certificate, by path. */
  loaded(): Promise<Map<string, HaproxyCertificate>> {
    return this.haproxy.loaded();
  }

  async #putBack(path: string, before: string | undefined): Promise<void> {
    try {
      if (before === undefined) await this.folder.remove(path);
      else await this.folder.write(path, before);
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

function tooLarge(size: number, limit: number): AppError {
  return new AppError(
    'payload_too_large',
    `The certificate with its chain is ${size} bytes; this HAProxy takes at most ${limit} at run time. Leave out ` +
      'what clients do not need (the root), use an ECDSA key, or run HAProxy 3.4, which takes 120 KB. Nothing was changed.',
  );
}
