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

/**
 * What health and metrics ask of whoever keeps certificates. It is a class so that it can be the injection token;
 * a global module provides it, and without one there are no certificates.
 */
export abstract class CertificateSummary {
  abstract certificates(): Promise<readonly CertificateState[]>;
}
