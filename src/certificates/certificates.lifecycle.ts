import { Injectable } from '@nestjs/common';
import { AcmeService } from './acme.service.js';
import { CertificateFolder } from '../haproxy/certificates/certificate-folder.js';
import { ManagedCertificates } from './managed-certificates.js';
import { RenewalService } from './renewal.service.js';
import { StoredCertificates } from './stored-certificates.service.js';

/** Start and stop of the certificates, for the one place that knows the order of everything. */
@Injectable()
export class CertificatesLifecycle {
  constructor(
    private readonly folder: CertificateFolder,
    private readonly managed: ManagedCertificates,
    private readonly renewal: RenewalService,
    private readonly acme: AcmeService,
    private readonly stored: StoredCertificates,
  ) {}

  /** With the lock taken and before the port is opened. @throws StateFileError */
  async open(): Promise<void> {
    await this.folder.open();
    await this.managed.open();
    await this.acme.recover();
    await this.stored.recover();
  }

  /** Once HAProxy may be changed. @throws SettingsError */
  async start(): Promise<void> {
    await this.renewal.schedule();
  }

  /** Nothing is begun any more; what is running is an operation, and ended with those. */
  stop(): void {
    this.renewal.unschedule();
  }
}
