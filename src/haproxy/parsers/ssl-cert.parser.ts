import { notThis } from './parse-error.js';

/** What HAProxy says about one certificate that it holds. */
export interface HaproxyCertificate {
  /** `Used`: in a crt-list, so served. `Unused`: in memory only. `Empty`: made, and never filled. */
  status: string;
  /** Hexadecimal; undefined where the store is empty. */
  serial: string | undefined;
  /** SHA-1 of the certificate, hexadecimal without colons. */
  fingerprint: string | undefined;
}

/**
 *   Filename: /opt/haproxy/certs/example.com.pem
 *   Status: Used
 *   Serial: 500FA193252B568985DB877772538B65C449BB4B
 *   …
 *   SHA1 FingerPrint: 016883FE286C738D2811B22974CA384074283E9D
 *
 * (Management guide, "show ssl cert".)
 */
export function parseCertificate(text: string): HaproxyCertificate {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(': ');
    // A chain repeats names with other meanings; the leaf's come first.
    if (colon > 0 && !fields.has(line.slice(0, colon)))
      fields.set(line.slice(0, colon), line.slice(colon + 2));
  }
  const status = fields.get('Status');
  if (status === undefined) throw notThis('"show ssl cert"', text);
  return { status, serial: fields.get('Serial'), fingerprint: fields.get('SHA1 FingerPrint') };
}

export interface CertificateNames {
  /** Of the one transaction that the process may have open. */
  transaction: string | undefined;
  names: string[];
}

/**
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
 * `show ssl crt-list` names the lists, `show ssl crt-list F` the certificates of one:
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
