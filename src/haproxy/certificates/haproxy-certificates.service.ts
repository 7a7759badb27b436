import { basename, dirname, join, normalize } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import pLimit from 'p-limit';
import { AppError } from '../../errors/app-error.js';
import { isSamePath } from '../../lib/same-path.js';
import { Settings } from '../../settings/settings.js';
import { type Command, isWord, runtimeCommand, textPayload } from '../runtime/command.js';
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
import { parseInfo } from '../parsers/info.parser.js';
import { type HaproxyVersion, isAtLeast, parseVersion } from '../parsers/version.parser.js';

/** The most bytes of one command. The default of `tune.cli.max-payload-size` (HAProxy 3.4 and newer) is 128 KB. */
const LARGE_COMMAND_BYTES = 120 * 1024;

/** HAProxy runs one command about certificates at a time, over all clients, and refuses the others. */
const LOCKED = /currently locked/i;
const LOCKED_ATTEMPTS = 100;
const LOCKED_MS = 20;

/** The certificates and crt-lists that HAProxy has now. */
interface Inventory {
  version: HaproxyVersion;
  /** The certificate of the open transaction. HAProxy has at most one transaction. */
  transaction: string | undefined;
  /**
   * The names in HAProxy of each certificate, by the path of its file. HAProxy has a certificate several times if its
   * configuration names the folder in several ways.
   */
  names: Map<string, readonly string[]>;
  /** The crt-lists of the certificate folder, each with the paths and the names of its certificates. */
  lists: { name: string; certificates: Set<string>; names: Set<string> }[];
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

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
  ) {
    this.#transport = new RuntimeTransport(settings.runtime);
    this.#largeTransport = new RuntimeTransport(settings.runtime, { commandBytes: LARGE_COMMAND_BYTES });
  }

  /** All certificates that HAProxy has, by the path of the file. @throws AppError haproxy_unavailable */
  loaded(): Promise<Map<string, HaproxyCertificate>> {
    return this.#queue(async () => {
      const [text] = await this.#show([runtimeCommand`show ssl cert`]);
      const names = parseCertificateNames(text?.text ?? '').names.filter((name) => isWord(name));
      const pathOf = this.#pathOf();
      const replies = await this.#tryShow(names.map((name) => runtimeCommand`show ssl cert ${name}`));
      const found = new Map<string, HaproxyCertificate>();
      for (const [index, name] of names.entries()) {
        const reply = replies[index];
        // HAProxy rejects the command for a bundle of several certificates, and after the certificate was removed.
        if (reply && !isRejected(reply)) found.set(pathOf(name), parseCertificate(reply.text));
      }
      return found;
    });
  }

  /** The certificate that HAProxy has for the file at `path`. @throws AppError haproxy_unavailable */
  async loadedAt(path: string): Promise<HaproxyCertificate | undefined> {
    const name = (await this.names()).get(path);
    return name === undefined ? undefined : this.find(name);
  }

  /** A name in HAProxy of each certificate, by the path of the file. @throws AppError haproxy_unavailable */
  names(): Promise<Map<string, string>> {
    return this.#queue(async () => {
      const [text] = await this.#show([runtimeCommand`show ssl cert`]);
      const pathOf = this.#pathOf();
      const { names } = parseCertificateNames(text?.text ?? '');
      return new Map(names.map((name) => [pathOf(name), name]));
    });
  }

  /** The certificate of this name in HAProxy; undefined if there is none. @throws AppError haproxy_unavailable */
  async find(name: string): Promise<HaproxyCertificate | undefined> {
    if (!isWord(name)) return undefined;
    const [reply] = await this.#queue(() => this.#tryShow([runtimeCommand`show ssl cert ${name}`]));
    return reply && !isRejected(reply) ? parseCertificate(reply.text) : undefined;
  }

  /** The names of each bind (`frontend:line`) with their certificates. @throws AppError haproxy_unavailable, haproxy_rejected */
  sni(): Promise<Map<string, SniEntry[]>> {
    return this.#queue(async () => {
      const [reply] = await this.#show([runtimeCommand`show ssl sni`]);
      const binds = parseSslSni(reply?.text ?? '');
      const pathOf = this.#pathOf();
      for (const entries of binds.values()) for (const entry of entries) entry.path = pathOf(entry.path);
      return binds;
    });
  }

  /** Checks that HAProxy answers and a bind uses the folder. @throws AppError haproxy_unavailable, haproxy_rejected */
  async check(): Promise<void> {
    const { lists } = await this.#queue(() => this.#inventory());
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
      const inventory = await this.#inventory();
      if (inventory.lists.length === 0) throw this.#noCrtListError();
      if (inventory.transaction !== undefined)
        await this.#transport.run([runtimeCommand`abort ssl cert ${inventory.transaction}`]);
      const known = inventory.names.get(file);
      const names = known ?? [nameInList(inventory.lists[0]?.name, file)];
      const [name = file] = names;
      const transport = isAtLeast(inventory.version, 3, 4) ? this.#largeTransport : this.#transport;
      const commands = [
        ...(known === undefined ? [runtimeCommand`new ssl cert ${name}`] : []),
        // A new PEM removes the other parts that HAProxy had.
        ...names.flatMap((each) => [
          runtimeCommand`set ssl cert ${each}`.with(textPayload(pem)),
          ...partCommands(each, extras),
          runtimeCommand`commit ssl cert ${each}`,
        ]),
        ...inventory.lists
          .filter((list) => !list.certificates.has(file))
          .map((list) => runtimeCommand`add ssl crt-list ${list.name} ${name}`),
      ];
      const show = runtimeCommand`show ssl cert ${name}`;
      try {
        const replies = await transport.run([...commands, show]);
        const shown = replies.pop();
        checked(commands, replies);
        // Another client may hold the lock only between two commands of this batch.
        const [reply] = shown && !isRejected(shown) ? [shown] : await this.#show([show]);
        return parseCertificate(reply?.text ?? '');
      } catch (error) {
        await this.#transport.run([
          ...names.map((each) => runtimeCommand`abort ssl cert ${each}`),
          ...(known === undefined ? removalCommands(names, inventory.lists) : []),
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
      const names = inventory.names.get(file);
      if (names === undefined) return;
      if (inventory.transaction !== undefined)
        await this.#transport.run([runtimeCommand`abort ssl cert ${inventory.transaction}`]);
      const listsOf = (name: string) => inventory.lists.filter((list) => list.names.has(name));
      try {
        await this.#run(names.flatMap((name) => removalCommands([name], listsOf(name))));
      } catch (error) {
        // HAProxy does not delete a certificate that a bind names itself (`crt FILE`). Undo the deletion from the lists.
        await this.#transport.run(
          names.flatMap((name) =>
            listsOf(name).map((list) => runtimeCommand`add ssl crt-list ${list.name} ${name}`),
          ),
        );
        throw error;
      }
    });
  }

  async #inventory(): Promise<Inventory> {
    const [info, certificates, lists] = await this.#show([
      runtimeCommand`show info`,
      runtimeCommand`show ssl cert`,
      runtimeCommand`show ssl crt-list`,
    ]);
    const { transaction, names } = parseCertificateNames(certificates?.text ?? '');
    const folder = this.settings.folders.certs;
    const pathOf = this.#pathOf();
    // If binds name the folder in several ways, HAProxy has a list for each.
    const ours = parseCrtList(lists?.text ?? '').filter((name) => isWord(name) && isSamePath(name, folder));
    const contents = await this.#show(ours.map((name) => runtimeCommand`show ssl crt-list ${name}`));
    const namesByPath = new Map<string, string[]>();
    for (const name of names) {
      const path = pathOf(name);
      namesByPath.set(path, [...(namesByPath.get(path) ?? []), name]);
    }
    return {
      version: parseVersion(parseInfo(info?.text ?? '').version),
      transaction,
      names: namesByPath,
      lists: ours.map((name, index) => {
        const listed = parseCrtList(contents[index]?.text ?? '');
        return { name, certificates: new Set(listed.map((each) => pathOf(each))), names: new Set(listed) };
      }),
    };
  }

  /** Returns the function that turns a name in HAProxy into the path of the file. It reads each folder only once. */
  #pathOf(): (name: string) => string {
    const folder = this.settings.folders.certs;
    const isOurs = new Map<string, boolean>();
    return (name) => {
      const parent = dirname(name);
      const ours = isOurs.get(parent) ?? isSamePath(parent, folder);
      isOurs.set(parent, ours);
      return ours ? join(folder, basename(name)) : normalize(name);
    };
  }

  async #run(commands: readonly Command[]): Promise<Reply[]> {
    return checked(commands, await this.#transport.run(commands));
  }

  /** As `#tryShow`. @throws AppError haproxy_rejected */
  async #show(commands: readonly Command[]): Promise<Reply[]> {
    return checked(commands, await this.#tryShow(commands));
  }

  /**
   * Runs commands that read. HAProxy refuses each of them while any client runs a command about certificates, so that a
   * refusal does not mean that a certificate is missing.
   */
  async #tryShow(commands: readonly Command[]): Promise<Reply[]> {
    for (let attempt = 1; ; attempt += 1) {
      const replies = await this.#transport.run(commands);
      if (
        attempt === LOCKED_ATTEMPTS ||
        !replies.some((reply) => isRejected(reply) && LOCKED.test(reply.text))
      )
        return replies;
      await delay(LOCKED_MS);
    }
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

/** The name under which HAProxy reads the file at its next start, so that it has each certificate under one name. */
function nameInList(list: string | undefined, file: string): string {
  return list === undefined ? file : `${list.replace(/\/+$/, '')}/${basename(file)}`;
}

function removalCommands(names: readonly string[], lists: Inventory['lists']): Command[] {
  return names.flatMap((name) => [
    ...lists.map((list) => runtimeCommand`del ssl crt-list ${list.name} ${name}`),
    runtimeCommand`del ssl cert ${name}`,
  ]);
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
