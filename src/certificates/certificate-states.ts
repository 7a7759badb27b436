import { Injectable } from '@nestjs/common';
import { type CertificateState, CertificateSummary } from '../common/certificate-summary.js';
import { CertificateViews } from './certificate-views.service.js';
import { ManagedCertificates } from './managed-certificates.js';

/** The certificates as health and metrics see them. */
@Injectable()
export class CertificateStates extends CertificateSummary {
  constructor(
    private readonly views: CertificateViews,
    private readonly managed: ManagedCertificates,
  ) {
    super();
  }

  async certificates(): Promise<readonly CertificateState[]> {
    const states: CertificateState[] = [];
    for (const { domain, days_left, loaded, auto_renew } of await this.views.all()) {
      const problem = auto_renew ? this.managed.get(domain)?.last_error?.detail : undefined;
      states.push({ domain, days_left, loaded, ...(problem !== undefined && { problem }) });
    }
    return states;
  }
}
