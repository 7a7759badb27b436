import { Injectable } from '@nestjs/common';
import { CertificateViews } from './certificate-views.service.js';
import { ManagedCertificates } from './managed-certificates.js';

/** One certificate, as far as health and metrics need to know it. */
export interface CertificateState {
  domain: string;
  /** Whole days until it expires; negative once it has. */
  days_left: number;
  /** Whether HAProxy has it. */
  loaded: boolean;
  /** What is wrong with it, in words for an operator; a failed renewal, say. */
  problem?: string;
}

/** The certificates as health and metrics see them. */
@Injectable()
export class CertificateStates {
  constructor(
    private readonly views: CertificateViews,
    private readonly managed: ManagedCertificates,
  ) {}

  async certificates(): Promise<readonly CertificateState[]> {
    const states: CertificateState[] = [];
    for (const { domain, days_left, loaded, auto_renew } of await this.views.all()) {
      const problem = auto_renew ? this.managed.get(domain)?.last_error?.detail : undefined;
      states.push({ domain, days_left, loaded, ...(problem !== undefined && { problem }) });
    }
    return states;
  }
}
