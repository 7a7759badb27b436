import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { AppError } from '../../errors/app-error.js';
import { Settings } from '../../settings/settings.js';
import { type Command, isWord, runtimeCommand, textPayload } from '../runtime/command.js';
import { FolderPaths } from './folder-paths.js';
import type { CertificateBundle, CertificateExtras } from './pem.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { isRejected, type Reply, firstLineOf } from '../runtime/reply.js';
import { RuntimeTransport, TRANSPORT_LIMITS } from '../runtime/transport.js';
import {
  type HaproxyCertificate,
  parseCertificate,
  parseCertificateNames,
  parseCrtList,
} from '../parsers/ssl-cert.parser.js';
import { parseSslSni, type SniEntry } from '../parsers/ssl-sni.parser.js';
import { isAtLeast } from '../parsers/version.parser.js';

/** The most bytes of one command. The default of `tune.cli.max-payload-size` (HAProxy 3.4 and newer) is 128 KB. */
const LARGE_COMMAND_BYTES = 120 * 1024;

/** The certificates and crt-lists that HAProxy has now. */
interface Inventory {
  /** The certificate of the open transaction. HAProxy has at most one transaction. */
  transaction: string | undefined;
  /** The name in HAProxy of each certificate, by the path of its file. */
  names: Map<string, string>;
  /** The crt-lists of the certificate folder, each with the paths of its certificates. */
  lists: { name: string; certificates: Set<string> }[];
}

/**
 * Certificates in a running HAProxy. HAProxy has one certificate transaction per process, which stays open after a
 * failure and after the connection closes. So this class makes one change at a time, and first aborts a transaction
 * that another client left open.
 */
@Injectable()
export class HaproxyCertificatesService {
  readonly #transport: RuntimeTransport;
  readonly #largeTransport: RuntimeTransport;
  readonly #queue = pLimit(1);
  readonly #paths: FolderPaths;

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
  ) {
    this.#paths = new FolderPaths(settings.folders.certs);
    this.#transport = new RuntimeTransport(settings.runtime);
    this.#largeTransport = new RuntimeTransport(settings.runtime, { commandBytes: LARGE_COMMAND_BYTES });
  }

  /** All certificates that HAProxy has, by the path of the file. @throws AppError haproxy_unavailable */
  async loaded(): Promise<Map<string, HaproxyCertificate>> {
    const names = [...(await this.names())].filter(([, name]) => isWord(name));
    const replies = await this.#transport.run(names.map(([, name]) => runtimeCommand`show ssl cert ${name}`));
    const found = new Map<string, HaproxyCertificate>();
    for (const [index, [path]] of names.entries()) {
      const reply = replies[index];
      // HAProxy rejects the command for a bundle of several certificates, and after the certificate was removed.
      if (reply && !isRejected(reply)) found.set(path, parseCertificate(reply.text));
    }
    return found;
  }

  /** The name in HAProxy of each certificate, by the path of the file. @throws AppError haproxy_unavailable */
  async names(): Promise<Map<string, string>> {
    const [text] = await this.#run([runtimeCommand`show ssl cert`]);
    const { names } = parseCertificateNames(text?.text ?? '');
    return new Map([...(await this.#paths.of(names))].map(([name, path]) => [path, name]));
  }

  /** The certificate of this name in HAProxy; undefined if there is none. @throws AppError haproxy_unavailable */
  async find(name: string): Promise<HaproxyCertificate | undefined> {
    if (!isWord(name)) return undefined;
    const [reply] = await this.#transport.run([runtimeCommand`show ssl cert ${name}`]);
    return reply && !isRejected(reply) ? parseCertificate(reply.text) : undefined;
  }

  /** The names of each bind (`frontend:line`) with their certificates. @throws AppError haproxy_unavailable, haproxy_rejected */
  async sni(): Promise<Map<string, SniEntry[]>> {
    const [reply] = await this.#run([runtimeCommand`show ssl sni`]);
    const binds = parseSslSni(reply?.text ?? '');
    const names = new Set([...binds.values()].flatMap((entries) => entries.map(({ path }) => path)));
    const paths = await this.#paths.of([...names]);
    for (const entries of binds.values())
      for (const entry of entries) entry.path = paths.get(entry.path) ?? entry.path;
    return binds;
  }

  /** Checks that HAProxy answers and a bind uses the folder. @throws AppError haproxy_unavailable, haproxy_rejected */
  async check(): Promise<void> {
    const { lists } = await this.#inventory();
    if (lists.length === 0) throw this.#noCrtListError();
  }

  /** The most bytes of PEM in one command. HAProxy can read a larger certificate only from its file, at a reload. */
  async payloadLimit(): Promise<number> {
    const { version } = await this.runtime.capabilities();
    return (isAtLeast(version, 3, 4) ? LARGE_COMMAND_BYTES : TRANSPORT_LIMITS.commandBytes) - 1024;
  }

  /**
   * Makes HAProxy serve the bundle as the certificate of `file`, with its OCSP response and its other parts. If that
   * fails, HAProxy serves what it served before. HAProxy prefers every other certificate of the same name and kind of
   * key to a certificate that was put again.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable, payload_too_large (more than `payloadLimit`)
   */
  put(file: string, { pem, extras = {} }: CertificateBundle): Promise<HaproxyCertificate> {
    return this.#queue(async () => {
      const { version } = await this.runtime.capabilities();
      const inventory = await this.#inventory();
      if (inventory.lists.length === 0) throw this.#noCrtListError();
      if (inventory.transaction !== undefined)
        await this.#transport.run([runtimeCommand`abort ssl cert ${inventory.transaction}`]);
      const known = inventory.names.get(file);
      const name = known ?? file;
      const transport = isAtLeast(version, 3, 4) ? this.#largeTransport : this.#transport;
      const commands = [
        ...(known === undefined ? [runtimeCommand`new ssl cert ${name}`] : []),
        // A new PEM removes the other parts that HAProxy had.
        runtimeCommand`set ssl cert ${name}`.with(textPayload(pem)),
        ...partCommands(name, extras),
        runtimeCommand`commit ssl cert ${name}`,
        ...inventory.lists
          .filter((list) => !list.certificates.has(file))
          .map((list) => runtimeCommand`add ssl crt-list ${list.name} ${name}`),
      ];
      try {
        checked(commands, await transport.run(commands));
        const [reply] = await this.#run([runtimeCommand`show ssl cert ${name}`]);
        return parseCertificate(reply?.text ?? '');
      } catch (error) {
        await this.#transport.run([
          runtimeCommand`abort ssl cert ${name}`,
          ...(known === undefined ? removalCommands(name, inventory) : []),
        ]);
        throw error;
      }
    });
  }

  /**
   * Removes the certificate of `file` from HAProxy, if HAProxy has it. If that fails, HAProxy serves it as before.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  remove(file: string): Promise<void> {
    return this.#queue(async () => {
      const inventory = await this.#inventory();
      const name = inventory.names.get(file);
      if (name === undefined) return;
      if (inventory.transaction !== undefined)
        await this.#transport.run([runtimeCommand`abort ssl cert ${inventory.transaction}`]);
      const lists = inventory.lists.filter((list) => list.certificates.has(file));
      try {
        await this.#run(removalCommands(name, { ...inventory, lists }));
      } catch (error) {
        // HAProxy does not delete a certificate that a bind names itself (`crt FILE`). Undo the deletion from the lists.
        await this.#transport.run(lists.map((list) => runtimeCommand`add ssl crt-list ${list.name} ${name}`));
        throw error;
      }
    });
  }

  async #inventory(): Promise<Inventory> {
    const [certificates, lists] = await this.#run([
      runtimeCommand`show ssl cert`,
      runtimeCommand`show ssl crt-list`,
    ]);
    const { transaction, names } = parseCertificateNames(certificates?.text ?? '');
    const candidates = parseCrtList(lists?.text ?? '').filter((name) => isWord(name));
    const ours: string[] = [];
    // If binds name the folder with and without a trailing slash, HAProxy has two lists for it.
    for (const name of candidates) if (await this.#paths.isFolder(name)) ours.push(name);
    const contents = await this.#run(ours.map((name) => runtimeCommand`show ssl crt-list ${name}`));
    const members = contents.map(({ text }) => parseCrtList(text));
    const paths = await this.#paths.of([...names, ...members.flat()]);
    const pathOf = (name: string) => paths.get(name) ?? name;
    return {
      transaction,
      names: new Map(names.map((name) => [pathOf(name), name])),
      lists: ours.map((name, index) => ({
        name,
        certificates: new Set((members[index] ?? []).map((member) => pathOf(member))),
      })),
    };
  }

  async #run(commands: readonly Command[]): Promise<Reply[]> {
    return checked(commands, await this.#transport.run(commands));
  }

  #noCrtListError(): AppError {
    const folder = this.settings.folders.certs;
    return new AppError(
      'haproxy_rejected',
      `HAProxy cannot serve the certificate, because no bind of HAProxy reads certificates from ${folder}. Add "ssl crt ` +
        `${folder} strict-sni" to the HTTPS bind, or set HAPROXY_CERT_DIR to the folder of the bind, then restart HAProxy.`,
    );
  }
}

/** A line of a payload has at most 4,096 characters. */
function lines(base64: string): string {
  return base64.replaceAll(/.{1,1000}/g, '$&\n');
}

/** The commands for the parts of a certificate. HAProxy takes binary parts as base64. */
function partCommands(name: string, { issuer, ocsp, sctl }: CertificateExtras): Command[] {
  return [
    ...(issuer === undefined ? [] : [runtimeCommand`set ssl cert ${name}.issuer`.with(textPayload(issuer))]),
    ...(ocsp === undefined ? [] : [runtimeCommand`set ssl cert ${name}.ocsp`.with(textPayload(lines(ocsp)))]),
    ...(sctl === undefined ? [] : [runtimeCommand`set ssl cert ${name}.sctl`.with(textPayload(lines(sctl)))]),
  ];
}

function removalCommands(name: string, { lists }: Inventory): Command[] {
  return [
    ...lists.map((list) => runtimeCommand`del ssl crt-list ${list.name} ${name}`),
    runtimeCommand`del ssl cert ${name}`,
  ];
}

/** @throws AppError haproxy_rejected if HAProxy rejected one of the commands */
function checked(commands: readonly Command[], replies: readonly Reply[]): Reply[] {
  for (const [index, reply] of replies.entries()) {
    if (!isRejected(reply)) continue;
    const line = commands[index]?.line ?? '';
    throw new AppError(
      'haproxy_rejected',
      `HAProxy rejected the command "${line.slice(0, 200)}": "${firstLineOf(reply)}". HAProxy serves what it served before. ` +
        'See the HAProxy log for the reason, then try again.',
    );
  }
  return [...replies];
}
