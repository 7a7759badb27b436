import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type MadeCertificate, makeCertificate } from './certificates.js';
import { freePort } from '../free-port.js';
import { until } from '../poll.js';
import { tempHome } from '../temp-home.js';
import { toolPath } from '../tool-path.js';

export interface Pebble {
  /** URL of the ACME directory. */
  readonly directory: string;
  /** Path of the CA certificate for the HTTPS of Pebble and of the fake Cloudflare. */
  readonly caBundle: string;
  readonly ca: MadeCertificate;
  readonly folder: string;
  /** Address and port of the DNS server. */
  readonly dns: string;
  setTxt(host: string, value: string): Promise<void>;
  clearTxt(host: string): Promise<void>;
  /** The IPv4 addresses of a host, in place of 127.0.0.1. */
  setAddresses(host: string, addresses: readonly string[]): Promise<void>;
  stop(): Promise<void>;
}

export interface PebbleOptions {
  /** Key id and base64url HMAC key of the external account to which an account must be bound. */
  externalAccount?: { kid: string; hmacKey: string };
  /** Where it asks for HTTP-01 challenges, at every address that its DNS server has for the name. */
  httpPort?: number;
}

/** Starts an ACME server with its own DNS server on loopback. It never issues for `blocked.example`. */
export async function startPebble(options: PebbleOptions = {}): Promise<Pebble> {
  const home = await tempHome();
  const folder = home.path;
  const [acme, management, dns, dnsManagement] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  const ca = await makeCertificate(folder, { names: ['test-ca.invalid'], isCa: true });
  const own = await makeCertificate(folder, { names: ['localhost', '127.0.0.1'], issuer: ca });
  const file = (name: string) => join(folder, name);
  await mkdir(folder, { recursive: true });
  await writeFile(file('ca.pem'), ca.certificate);
  await writeFile(file('server.pem'), own.certificate);
  await writeFile(file('server.key'), own.key);
  const { externalAccount: eab } = options;
  await writeFile(
    file('pebble.json'),
    JSON.stringify({
      pebble: {
        listenAddress: `127.0.0.1:${acme}`,
        managementListenAddress: `127.0.0.1:${management}`,
        certificate: file('server.pem'),
        privateKey: file('server.key'),
        httpPort: options.httpPort ?? 5002,
        tlsPort: 5001,
        ocspResponderURL: '',
        externalAccountBindingRequired: eab !== undefined,
        externalAccountMACKeys: eab ? { [eab.kid]: eab.hmacKey } : {},
        domainBlocklist: ['blocked.example'],
        retryAfter: { authz: 1, order: 1 },
        certificateValidityPeriod: 90 * 24 * 3600,
        profiles: { default: { description: 'for tests', validityPeriod: 90 * 24 * 3600 } },
      },
    }),
  );
  const dnsServer = new BackgroundProgram(toolPath('pebble-challtestsrv'), [
    '-dns01',
    `127.0.0.1:${dns}`,
    '-management',
    `127.0.0.1:${dnsManagement}`,
    '-http01',
    '',
    '-https01',
    '',
    '-tlsalpn01',
    '',
    '-doh',
    '',
    // Names without records of their own: 127.0.0.1.
    '-defaultIPv6',
    '',
  ]);
  const pebble = new BackgroundProgram(
    toolPath('pebble'),
    ['-config', file('pebble.json'), '-strict=false', '-dnsserver', `127.0.0.1:${dns}`],
    { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', PEBBLE_AUTHZREUSE: '0' },
  );
  const post = async (path: string, body: object) => {
    const response = await fetch(`http://127.0.0.1:${dnsManagement}/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`pebble-challtestsrv responded ${response.status} to ${path}`);
  };
  const stop = async () => {
    await Promise.all([pebble.stop(), dnsServer.stop()]);
    await home.remove();
  };
  try {
    await until(() => post('clear-txt', { host: 'ready.invalid.' }).then(() => true), {
      what: 'pebble-challtestsrv',
    });
    await until(() => pebble.output.includes('Listening on'), { what: 'pebble' });
  } catch (error) {
    await stop();
    throw new Error(pebble.output + dnsServer.output, { cause: error });
  }
  return {
    directory: `https://127.0.0.1:${acme}/dir`,
    caBundle: file('ca.pem'),
    ca,
    folder,
    dns: `127.0.0.1:${dns}`,
    setTxt: (host, value) => post('set-txt', { host: `${host}.`, value }),
    clearTxt: (host) => post('clear-txt', { host: `${host}.` }),
    setAddresses: (host, addresses) => post('add-a', { host: `${host}.`, addresses }),
    stop,
  };
}

/** A program that runs in the background of a test. */
class BackgroundProgram {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  output = '';

  constructor(path: string, args: readonly string[], env: Record<string, string> = {}) {
    this.#child = spawn(path, args, {
      env: { PATH: process.env['PATH'] ?? '', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#exited = new Promise((resolve) => this.#child.once('exit', () => resolve()));
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.on('data', (chunk: Buffer) => {
        this.output = `${this.output}${chunk.toString()}`.slice(-20_000);
      });
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}
