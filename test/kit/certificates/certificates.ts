import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface MadeCertificate {
  certificate: string;
  key: string;
  /** Certificate and key in one text, as HAProxy reads them. */
  pem: string;
}

interface MakeOptions {
  names: readonly string[];
  days?: number;
  rsaBits?: number;
  /** The CA that signs the certificate. Default: self-signed. */
  issuer?: MadeCertificate;
  isCa?: boolean;
  /** Bytes to add to the size of the certificate. */
  ballast?: number;
  /** The subject, as for `openssl req -subj`. Default: the first name. */
  subject?: string;
}

let sequence = 0;

/** Makes a certificate with openssl. The files are in `folder`. */
export async function makeCertificate(folder: string, options: MakeOptions): Promise<MadeCertificate> {
  sequence += 1;
  const file = (name: string) => join(folder, `made-${sequence}.${name}`);
  const { names, days = 90, rsaBits, issuer, isCa = false, ballast = 0 } = options;
  const algorithm = rsaBits ? ['rsa:' + rsaBits] : ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  const extensions = [
    ...(names.length > 0
      ? [
          `subjectAltName=${names.map((name) => (/^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',')}`,
        ]
      : []),
    `basicConstraints=critical,CA:${isCa ? 'TRUE' : 'FALSE'}`,
    ...(ballast > 0 ? [`nsComment=${'x'.repeat(ballast)}`] : []),
  ];
  const signer: string[] = [];
  if (issuer) {
    await writeFile(file('issuer.pem'), issuer.certificate);
    await writeFile(file('issuer.key'), issuer.key);
    signer.push('-CA', file('issuer.pem'), '-CAkey', file('issuer.key'));
  }
  await run('openssl', [
    'req',
    '-x509',
    '-newkey',
    ...algorithm,
    '-nodes',
    '-keyout',
    file('key'),
    '-out',
    file('crt'),
    '-days',
    String(days),
    '-subj',
    options.subject ?? `/CN=${names[0]?.slice(0, 60)}`,
    ...extensions.flatMap((extension) => ['-addext', extension]),
    ...signer,
  ]);
  return read(file('crt'), file('key'));
}

/** Makes a certificate that expired on 1 February 2020. */
export function makeExpiredCertificate(folder: string, name: string): Promise<MadeCertificate> {
  return makeDatedCertificate(folder, name, new Date('2020-01-01'), new Date('2020-02-01'));
}

/** Makes a certificate with a given validity. Uses `openssl ca`, because `openssl req` cannot set dates. */
export async function makeDatedCertificate(
  folder: string,
  name: string,
  from: Date,
  to: Date,
): Promise<MadeCertificate> {
  sequence += 1;
  const file = (extension: string) => join(folder, `made-${sequence}.${extension}`);
  const date = (time: Date) => `${time.toISOString().replaceAll(/[-:T]/g, '').slice(0, 14)}Z`;
  await writeFile(file('index'), '');
  await writeFile(
    file('cnf'),
    `[ca]\ndefault_ca=own\n[own]\ndatabase=${file('index')}\nnew_certs_dir=${folder}\ndefault_md=sha256\n` +
      `serial=${file('serial')}\npolicy=any\nx509_extensions=names\n[any]\ncommonName=supplied\n[names]\nsubjectAltName=DNS:${name}\n`,
  );
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file('key')];
  await run('openssl', ['req', '-new', ...key, '-out', file('csr'), '-subj', `/CN=${name}`]);
  const validity = ['-startdate', date(from), '-enddate', date(to)];
  const out = ['-in', file('csr'), '-keyfile', file('key'), '-out', file('crt'), '-notext'];
  await run('openssl', [
    'ca',
    '-batch',
    '-selfsign',
    '-rand_serial',
    '-config',
    file('cnf'),
    ...validity,
    ...out,
  ]);
  return read(file('crt'), file('key'));
}

async function read(certificateFile: string, keyFile: string): Promise<MadeCertificate> {
  const [certificate, key] = await Promise.all([
    readFile(certificateFile, 'utf8'),
    readFile(keyFile, 'utf8'),
  ]);
  return { certificate, key, pem: certificate + key };
}
