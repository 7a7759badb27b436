import type { X509Certificate } from 'node:crypto';

/** Limits the work for many certificates that sign each other. A real chain needs fewer than 20 steps. */
const MAX_STEPS = 2_000;

interface Candidate {
  certificate: X509Certificate;
  /** The same for all certificates of one CA: its name and its key. */
  ca: string;
}

/**
 * The chain of a certificate: its issuer, the issuer of that, and so on, from `others` in any order. An issuer is known
 * by its signature, because two CAs can have the same name. If a CA has several certificates (cross-signed), the chain
 * with the fewest expired certificates wins, then the longest one, then the first one in `others`.
 */
export function chainOf(
  leaf: X509Certificate,
  others: readonly X509Certificate[],
  now = Date.now(),
): X509Certificate[] {
  const unique = [...new Map(others.map((other) => [other.fingerprint256, other])).values()];
  const candidates = unique.map(candidateOf).filter(({ ca }) => ca !== candidateOf(leaf).ca);
  const known = new Map<string, Candidate[]>();
  const issuersOf = (certificate: X509Certificate): Candidate[] => {
    const found =
      known.get(certificate.fingerprint256) ??
      candidates.filter((candidate) => isIssuer(candidate.certificate, certificate));
    known.set(certificate.fingerprint256, found);
    return found;
  };
  let steps = 0;
  const search = (last: X509Certificate, used: readonly string[]): X509Certificate[] => {
    let best: X509Certificate[] = [];
    for (const { certificate, ca } of issuersOf(last)) {
      steps += 1;
      // One certificate of each CA is enough, also if several CAs sign each other.
      if (steps > MAX_STEPS || used.includes(ca)) continue;
      const chain = [certificate, ...search(certificate, [...used, ca])];
      if (isBetter(chain, best, now)) best = chain;
    }
    return best;
  };
  return search(leaf, []);
}

function candidateOf(certificate: X509Certificate): Candidate {
  const key = certificate.publicKey.export({ type: 'spki', format: 'der' }).toString('base64');
  return { certificate, ca: `${certificate.subject} ${key}` };
}

function isIssuer(issuer: X509Certificate, certificate: X509Certificate): boolean {
  try {
    return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
  } catch {
    // The key has another type than the signature.
    return false;
  }
}

function isBetter(chain: readonly X509Certificate[], best: readonly X509Certificate[], now: number): boolean {
  if (best.length === 0) return true;
  const expired = (certificates: readonly X509Certificate[]) =>
    certificates.filter(({ validTo }) => Date.parse(validTo) < now).length;
  const difference = expired(chain) - expired(best);
  return difference === 0 ? chain.length > best.length : difference < 0;
}
