import { Injectable } from '@nestjs/common';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { AcmeChallenges } from '../haproxy/certificates/acme-challenges.service.js';
import { CertificateLoader } from '../haproxy/certificates/certificate-loader.service.js';
import { AcmeService } from './acme/acme.service.js';
import { ManagedCertificates } from './managed-certificates.js';
import { RenewalService } from './renewal.service.js';
import { StoredCertificates } from './stored-certificates.service.js';

/** Start and stop of this feature. LifecycleService calls it in the right order. */
@Injectable()
export class CertificatesLifecycle {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly renewal: RenewalService,
    private readonly acme: AcmeService,
    private readonly stored: StoredCertificates,
    private readonly loader: CertificateLoader,
    private readonly challenges: AcmeChallenges,
  ) {}

  /**
   * Reads the files, and completes or undoes what a killed suite left. Needs the owner lock; call it before the port
   * opens.
   *
   * @throws StateFileError
   */
  async open(): Promise<void> {
    await this.folder.open();
    await this.managed.open();
    this.loader.preferred = this.managed.preferred;
    await this.acme.recover();
    await this.challenges.open();
    await this.stored.recover();
  }

  /** Starts scheduled renewals. @throws SettingsError */
  async start(): Promise<void> {
    // Without an answer, HAProxy does not run, and starts with the empty file.
    await this.challenges.forgetOthers().catch(() => undefined);
    await this.renewal.schedule();
  }

  /** Stops scheduled renewals. JobsService stops a renewal that runs. */
  stop(): void {
    this.renewal.unschedule();
  }
}
