import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect, isIP, type Socket } from 'node:net';
import { parse } from 'dotenv';
import { canListSockets, listenersAt, type ProcSocket } from '../lib/machine/proc-net.js';
import { userName } from '../lib/machine/users.js';
import { formatHostPort } from '../model/addresses/ip-address.js';
import type { Settings } from './settings.js';

/** What listens at the address of the suite is not known to be the suite. Nothing was sent to it. */
export class NotTheSuiteError extends Error {
  constructor(
    /** Who listens, as a part of a sentence. */
    readonly listener: string,
    advice: string,
  ) {
    super(`${listener.charAt(0).toUpperCase()}${listener.slice(1)}. The token was not sent. ${advice}`);
    this.name = 'NotTheSuiteError';
  }
}

/** The token in a file with `MCP_TOKEN=...`, `MCP_READONLY_TOKEN=...` or only the token. @throws the error of the disk */
export async function readToken(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8');
  const { MCP_TOKEN: admin, MCP_READONLY_TOKEN: readonly } = parse(text);
  const token = admin === undefined && readonly === undefined ? text.trim() : admin || readonly || '';
  return /^[\x21-\x7E]+$/.test(token) ? token : undefined;
}

/**
 * The suite of this machine, at the address in the settings. While the suite does not run, any user of the machine can
 * listen there, and would get the token and the private keys of the next command. So `connect` gives only a connection
 * to a program of root, of this user, or of the user of the suite.
 */
export class LocalSuite {
  constructor(private readonly settings: Pick<Settings, 'api' | 'home' | 'files'>) {}

  /** A client cannot connect to `0.0.0.0` or `::`. */
  get url(): string {
    const { host, port } = this.settings.api;
    return `http://${formatHostPort(clientHost(host), port)}`;
  }

  /** @throws NotTheSuiteError; the error of connect(2) */
  async connect(): Promise<Socket> {
    const { host, port } = this.settings.api;
    const address = await addressOf(clientHost(host));
    const plain = plainAddress(address);
    const before = listenersAt(plain, port);
    const socket = connect({ host: address, port });
    await once(socket, 'connect');
    try {
      this.#requireTrusted(plain, before, listenersAt(plain, port));
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    }
  }

  /**
   * /proc does not show the user of a connection that was not accepted yet, so the sockets that listen count. They must be
   * the same before and after connecting: another program can listen in between.
   *
   * @throws NotTheSuiteError
   */
  #requireTrusted(host: string, before: readonly ProcSocket[], found: readonly ProcSocket[]): void {
    const { api, home } = this.settings;
    const address = formatHostPort(host, api.port);
    const url = `--url http://${address}`;
    if (!canListSockets())
      throw new NotTheSuiteError(
        `it is not known who listens on ${address}, because /proc/net/tcp is not there`,
        `If that is your suite, name its address with ${url}.`,
      );
    if (found.length === 0)
      throw new NotTheSuiteError(
        `no program of this network namespace listens on ${address}, but another machine or container answers there`,
        `If that is your suite, name its address with ${url}.`,
      );
    const trusted = this.#trustedUsers();
    const stranger = found.find(({ uid }) => !trusted.has(uid));
    if (stranger)
      throw new NotTheSuiteError(
        `the program that listens on ${address} runs as the user ${userName(stranger.uid)}, not as root, as you or as the owner of ${home}`,
        `Stop that program and start the suite. If it is your suite, set HAPROXY_HOME as the suite has it, or name its address with ${url}.`,
      );
    const known = new Set(before.map(({ inode }) => inode));
    if (!found.every(({ inode }) => known.has(inode)))
      throw new NotTheSuiteError(
        `another program listens on ${address} than a moment ago`,
        'Run the command again.',
      );
  }

  /** Root, this user, and the owners of the folder and of the token of the suite. */
  #trustedUsers(): ReadonlySet<number> {
    const { home, files } = this.settings;
    const owners = [home, files.token].map(ownerOf).filter((uid) => uid !== OVERFLOW_UID || knowsAllUsers());
    return new Set([0, process.geteuid?.(), ...owners].filter((uid) => uid !== undefined));
  }
}

/** The uid of every user that the user namespace does not know (user_namespaces(7)), and of the user `nobody`. */
const OVERFLOW_UID = 65_534;

function knowsAllUsers(): boolean {
  try {
    return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
  } catch {
    return false;
  }
}

/** Undefined if there is no such path, or if this user may not see it. */
function ownerOf(path: string): number | undefined {
  try {
    return statSync(path).uid;
  } catch {
    return undefined;
  }
}

/** The address of `MCP_HOST` for a client, which cannot connect to `0.0.0.0` or `::`. */
function clientHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

/** The address of a name such as `localhost`, on which the suite listens. */
async function addressOf(name: string): Promise<string> {
  if (isIP(name) !== 0) return name;
  const { lookup } = await import('node:dns/promises');
  return (await lookup(name)).address;
}

/** As /proc/net has it: without a zone, and an IPv4-mapped address as IPv4. */
function plainAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '').replace(/%.*/, '');
}
