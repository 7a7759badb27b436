import { normalize, resolve } from 'node:path';
import { Injectable } from '@nestjs/common';
import { AppError } from '../../errors/app-error.js';
import { SerialQueue } from '../../lib/serial-queue.js';
import { Settings } from '../../settings/settings.js';
import { type Command, isWord, runtimeCommand, textPayload } from '../runtime/command.js';
import { HaproxyRuntimeService } from '../haproxy-runtime.service.js';
import { isRejected, type Reply, firstLineOf } from '../runtime/reply.js';
import { RuntimeTransport, TRANSPORT_LIMITS } from '../runtime/transport.js';
import {
  type HaproxyCertificate,
  parseCertificate,
  parseCertificateNames,
  parseCrtList,
} from '../parsers/ssl-cert.parser.js';
import { isAtLeast } from '../parsers/version.parser.js';

/** `tune.cli.max-payload-size` of 3.4 and newer is 128 KB unless configured; less a reserve. */
const LARGE_COMMAND_BYTES = 120 * 1024;

/** What of certificates HAProxy has now, under its own names. */
interface Inventory {
  transaction: string | undefined;
  /** HAProxy's name of each certificate, by the path of its file. */
  names: Map<string, string>;
  /** The crt-lists that stand for the certificate folder, with what each holds. */
  lists: { name: string; certificates: Set<string> }[];
}

/**
 * Certificates in a running HAProxy. It has one transaction for the whole process, which outlives a failure and the
 * connection: so there is one change at a time, and what somebody left open is closed first.
 */
@Injectable()
export class HaproxyCertificatesService {
  readonly #transport: RuntimeTransport;
  readonly #largeTransport: RuntimeTransport;
  readonly #queue = new SerialQueue();

  constructor(
    private readonly settings: Settings,
    private readonly runtime: HaproxyRuntimeService,
  ) {
    this.#transport = new RuntimeTransport(settings.runtime);
    this.#largeTransport = new RuntimeTransport(settings.runtime, { commandBytes: LARGE_COMMAND_BYTES });
  }

  /** What HAProxy holds, by the path of the file. */
  async loaded(): Promise<Map<string, HaproxyCertificate>> {
    const [text] = await this.#run([runtimeCommand`show ssl cert`]);
    const names = parseCertificateNames(text?.text ?? '').names.filter((name) => isWord(name));
    const replies = await this.#transport.run(names.map((name) => runtimeCommand`show ssl cert ${name}`));
    const found = new Map<string, HaproxyCertificate>();
    for (const [index, name] of names.entries()) {
      const reply = replies[index];
      // One that was removed meanwhile, or a bundle of several certificates, has nothing to show.
      if (reply && !isRejected(reply)) found.set(normalize(name), parseCertificate(reply.text));
    }
    return found;
  }

  /** Whether HAProxy answers and has the folder. @throws AppError haproxy_unavailable, haproxy_rejected */
  async check(): Promise<void> {
    const { lists } = await this.#inventory();
    if (lists.length === 0) throw this.#noList();
  }

  /** How many bytes of PEM one certificate may have; more can only be read from its file, at a reload. */
  async payloadLimit(): Promise<number> {
    const { version } = await this.runtime.capabilities();
    return (isAtLeast(version, 3, 4) ? LARGE_COMMAND_BYTES : TRANSPORT_LIMITS.commandBytes) - 1024;
  }

  /**
   * Makes HAProxy serve `pem` under the name of `file`, in place of what it served under that name. After a throw it
   * serves what it served before.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable, payload_too_large (more than `payloadLimit`)
   */
  put(file: string, pem: string): Promise<HaproxyCertificate> {
    return this.#queue.run(async () => {
      const { version } = await this.runtime.capabilities();
      const inventory = await this.#inventory();
      if (inventory.lists.length === 0) throw this.#noList();
      if (inventory.transaction !== undefined)
        await this.#transport.run([runtimeCommand`abort ssl cert ${inventory.transaction}`]);
      const known = inventory.names.get(file);
      const name = known ?? file;
      const transport = isAtLeast(version, 3, 4) ? this.#largeTransport : this.#transport;
      const commands = [
        ...(known === undefined ? [runtimeCommand`new ssl cert ${name}`] : []),
        runtimeCommand`set ssl cert ${name}`.with(textPayload(pem)),
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
          ...(known === undefined ? removal(name, inventory) : []),
        ]);
        throw error;
      }
    });
  }

  /**
   * HAProxy serves the file no more and forgets it. Fine where it never knew it. After a throw it serves it as before.
   *
   * @throws AppError haproxy_rejected, haproxy_unavailable
   */
  remove(file: string): Promise<void> {
    return this.#queue.run(async () => {
      const inventory = await this.#inventory();
      const name = inventory.names.get(file);
      if (name === undefined) return;
      if (inventory.transaction !== undefined)
        await this.#transport.run([runtimeCommand`abort ssl cert ${inventory.transaction}`]);
      const lists = inventory.lists.filter((list) => list.certificates.has(file));
      try {
        await this.#run(removal(name, { ...inventory, lists }));
      } catch (error) {
        // One that a bind names by itself cannot go, and is to be served by the others as before.
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
    const folder = this.settings.folders.certs;
    // Binds that name one folder in two ways, with and without a slash, have two lists.
    const ours = parseCrtList(lists?.text ?? '').filter((name) => isWord(name) && resolve(name) === folder);
    const contents = await this.#run(ours.map((name) => runtimeCommand`show ssl crt-list ${name}`));
    return {
      transaction,
      names: new Map(names.map((name) => [normalize(name), name])),
      lists: ours.map((name, index) => ({
        name,
        certificates: new Set(parseCrtList(contents[index]?.text ?? '').map((path) => normalize(path))),
      })),
    };
  }

  async #run(commands: readonly Command[]): Promise<Reply[]> {
    return checked(commands, await this.#transport.run(commands));
  }

  #noList(): AppError {
    const folder = this.settings.folders.certs;
    return new AppError(
      'haproxy_rejected',
      `No bind of this HAProxy reads certificates from ${folder}. Give its HTTPS bind "ssl crt ${folder} strict-sni" ` +
        '(or set HAPROXY_CERT_DIR to the folder that it names), and restart HAProxy.',
    );
  }
}

function removal(name: string, { lists }: Inventory): Command[] {
  return [
    ...lists.map((list) => runtimeCommand`del ssl crt-list ${list.name} ${name}`),
    runtimeCommand`del ssl cert ${name}`,
  ];
}

function checked(commands: readonly Command[], replies: readonly Reply[]): Reply[] {
  for (const [index, reply] of replies.entries()) {
    if (!isRejected(reply)) continue;
    const line = commands[index]?.line ?? '';
    throw new AppError(
      'haproxy_rejected',
      `HAProxy answered "${firstLineOf(reply)}" to "${line.slice(0, 200)}".`,
    );
  }
  return [...replies];
}
