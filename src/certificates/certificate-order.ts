import { factsOf } from '../haproxy/certificates/certificate-facts.js';
import type { CertificateFile } from '../haproxy/certificates/certificate-folder.js';

/** Certificates in the order of a list, and the sort key of each. */
interface SortedCertificates {
  sorted: readonly CertificateFile[];
  keyOf: (file: CertificateFile) => string;
}

/** All certificates by domain, or those that expire within `days`, the first to expire first. Pure. */
export function sortedCertificates(
  files: readonly CertificateFile[],
  days: number | undefined,
): SortedCertificates {
  if (days === undefined) return { sorted: files, keyOf: nameOf };
  const keyOf = (file: CertificateFile) => `${new Date(file.leaf.validTo).toISOString()} ${nameOf(file)}`;
  const sorted = files
    .filter(({ leaf }) => factsOf(leaf).days_left <= days)
    .toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  return { sorted, keyOf };
}

function nameOf({ domain, path }: CertificateFile): string {
  return `${domain} ${path}`;
}
