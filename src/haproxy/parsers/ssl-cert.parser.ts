import { unexpectedOutput } from './parse-error.js';

/** A certificate in HAProxy's memory. */
export interface HaproxyCertificate {
  /** `Used`: in a crt-list, so HAProxy serves it. `Unused`: only in memory. `Empty`: created, but never filled. */
  status: string;
  /** Hexadecimal; undefined if the status is `Empty`. */
  serial: string | undefined;
  /** SHA-1 of the certificate, hexadecimal without colons; undefined if the status is `Empty`. */
  fingerprint: string | undefined;
}

/**
 * Parses `show ssl cert FILE` (management guide):
 *
 *   Filename: /opt/haproxy/certs/example.com.pem
 *   Status: Used
 *   Serial: 500FA193252B568985DB877772538B65C449BB4B
 *   …
 *   SHA1 FingerPrint: 016883FE286C738D2811B22974CA384074283E9D
 */
export function parseCertificate(text: string): HaproxyCertificate {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(': ');
    // A chain repeats field names with other meanings. The fields of the leaf certificate come first.
    if (colon > 0 && !fields.has(line.slice(0, colon)))
      fields.set(line.slice(0, colon), line.slice(colon + 2));
  }
  const status = fields.get('Status');
  if (status === undefined) throw unexpectedOutput('the output of "show ssl cert"', text);
  return { status, serial: fields.get('Serial'), fingerprint: fields.get('SHA1 FingerPrint') };
}

interface CertificateNames {
  /** The certificate of the open transaction. A process has at most one. */
  transaction: string | undefined;
  names: string[];
}

/**
 * Parses `show ssl cert`:
 *
 *   # transaction
 *   *\/opt/haproxy/certs/b.pem
 *   # filename
 *   /opt/haproxy/certs/a.pem
 */
export function parseCertificateNames(text: string): CertificateNames {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const transaction = lines.find((line) => line.startsWith('*'))?.slice(1);
  return { transaction, names: lines.filter((line) => !line.startsWith('*')) };
}

/**
 * Parses the names of crt-lists (`show ssl crt-list`) or of the certificates in one list (`show ssl crt-list F`):
 *
 *   # /opt/haproxy/certs
 *   /opt/haproxy/certs/a.pem
 *   /opt/haproxy/certs/b.pem [alpn h2] *.example.com
 */
export function parseCrtList(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(' ', 1)[0] ?? '');
}
