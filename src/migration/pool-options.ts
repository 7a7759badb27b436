import { findPoolOptionsProblem, type PoolCheck, type PoolOptions } from '../model/options/pool-options.js';
import type { Note } from './actions.js';
import { type CheckRequest, readCheckRequest } from './check-request.js';
import type { Proxy } from './proxies.js';
import { type ReadServer, secondsOf } from './servers.js';
import type { SourceLine } from './source-lines.js';

/** The options of the pool of a backend, and what they do not carry. */
export interface ReadPoolOptions {
  options: PoolOptions;
  /** The lines whose effect the options do not have, or not wholly. */
  notes: ReadonlyMap<SourceLine, Note>;
}

const TIMEOUTS = ['connect', 'server', 'queue', 'tunnel'] as const;
/** What `defaults pools` of the template of haproxy.cfg has. An option with this value is left out. */
const BASE = {
  balance: 'roundrobin',
  retries: 3,
  timeouts: { connect: 5, server: 60, queue: 10, tunnel: 3600 },
};
const IN_DEFAULTS = 'Set it in `defaults pools` of haproxy.cfg of the suite, which holds for all pools.';
const WITH_OPTIONS = 'Set the options after the import: PUT /api/v1/domains/{domain}/pool-options.';

/** Reads the options of a pool (SPEC section 9). The last of several lines with the same directive counts. */
export function readPoolOptions(proxy: Proxy): ReadPoolOptions {
  return new Reader(proxy).read();
}

class Reader {
  readonly #notes = new Map<SourceLine, Note>();
  readonly #servers: readonly ReadServer[];

  constructor(private readonly proxy: Proxy) {
    this.#servers = proxy.servers.filter(({ server }) => server);
  }

  read(): ReadPoolOptions {
    const options: PoolOptions = {
      ...this.#balance(),
      ...this.#check(),
      ...this.#sticky(),
      ...this.#maxConnections(),
      ...this.#timeouts(),
      ...this.#retries(),
    };
    return { options, notes: this.#notes };
  }

  #lines(...words: readonly string[]): SourceLine[] {
    return this.proxy.lines.filter((line) => words.every((word, index) => line.words[index] === word));
  }

  #note(lines: readonly SourceLine[], reason: string, whatToDo = IN_DEFAULTS): undefined {
    for (const line of lines) this.#notes.set(line, { reason, whatToDo });
  }

  #balance(): PoolOptions {
    const last = this.#lines('balance').at(-1);
    const hash = this.#lines('hash-type').at(-1);
    if (hash && hash.words.slice(1).join(' ') !== 'consistent')
      this.#note(
        [hash],
        'The suite uses a consistent hash with its default function.',
        'Nothing. A visitor may get another server once.',
      );
    if (!last) return {};
    const balance = last.words.slice(1).join(' ');
    if (balance === BASE.balance) return {};
    const problem = findPoolOptionsProblem({ balance });
    if (!problem) return { balance };
    this.#note([last], `The algorithm is not possible: balance ${problem.reason}.`, WITH_OPTIONS);
    return {};
  }

  #retries(): PoolOptions {
    this.#note(this.#lines('retry-on'), 'A record does not say which errors HAProxy tries again.');
    const last = this.#lines('retries').at(-1);
    if (!last) return {};
    const retries = Number(last.words[1] ?? 'none');
    if (retries === BASE.retries) return {};
    const problem = findPoolOptionsProblem({ retries });
    if (!problem) return { retries };
    this.#note([last], `retries ${problem.reason}.`);
    return {};
  }

  #timeouts(): PoolOptions {
    this.#note(
      [...this.#lines('contimeout'), ...this.#lines('srvtimeout')],
      'HAProxy 2.1 removed this directive.',
    );
    const timeouts = Object.fromEntries(
      TIMEOUTS.flatMap((name): [string, number][] => {
        const last = this.#lines('timeout', name).at(-1);
        if (!last) return [];
        const seconds = secondsOf(last.words[2] ?? '');
        if (seconds === BASE.timeouts[name]) return [];
        if (seconds !== undefined && !findPoolOptionsProblem({ timeouts: { [name]: seconds } }))
          return [[name, seconds]];
        this.#note([last], 'The timeouts of a pool are in whole seconds, from 1 second.');
        return [];
      }),
    );
    return Object.keys(timeouts).length > 0 ? { timeouts } : {};
  }

  /** `cookie NAME insert`. The suite gives each server a value of its own. */
  #sticky(): PoolOptions {
    const tables = ['on', 'match', 'store-request', 'store-response'].flatMap((rule) =>
      this.#lines('stick', rule),
    );
    this.#note(
      [...tables, ...this.#lines('appsession')],
      'The suite keeps a visitor on one server only with a cookie of its own.',
      'Set sticky with the name of a new cookie (PUT /api/v1/domains/{domain}/pool-options), if the visitors must stay with one server.',
    );
    const last = this.#lines('cookie').at(-1);
    if (!last) return {};
    const [, sticky = '', ...words] = last.words;
    const isInserted =
      words.includes('insert') && !words.some((word) => /^(?:rewrite|prefix|preserve)$/.test(word));
    const hasValues = this.#servers.every(({ hasCookie }) => hasCookie) || words.includes('dynamic');
    if (!isInserted || !hasValues || findPoolOptionsProblem({ sticky })) {
      this.#note(
        [last],
        isInserted
          ? 'Some servers have no value of the cookie, or the cookie has another name than the suite can have.'
          : 'The suite sets a cookie of its own (cookie NAME insert), and leaves those of the servers as they are.',
        'Set sticky with the name of a new cookie (PUT /api/v1/domains/{domain}/pool-options), if the visitors must stay with one server.',
      );
      return {};
    }
    if (words.some((word) => !/^(?:insert|indirect|nocache|httponly)$/.test(word)))
      this.#note(
        [last],
        `The suite sets this cookie with insert indirect nocache httponly, and without the other words of the line.`,
        'Nothing, if the visitors need no more than to stay with one server.',
      );
    return { sticky };
  }

  #maxConnections(): PoolOptions {
    const limits = new Set(this.#servers.map(({ maxConnections }) => maxConnections ?? 0));
    const [limit = 0] = limits;
    if (limits.size > 1)
      this.#note(
        this.#servers.map(({ source }) => source),
        'The servers have different limits of connections. A pool has one for each of its servers.',
        'Set max_connections after the import: PUT /api/v1/domains/{domain}/pool-options.',
      );
    return limits.size === 1 && limit > 0 ? { max_connections: limit } : {};
  }

  #check(): PoolOptions {
    this.#note(
      this.#lines('timeout', 'check'),
      'A record has no timeout of health checks. HAProxy takes the interval.',
    );
    const request = readCheckRequest(this.proxy.lines);
    const times = this.#checkTimes();
    const problem = request && (this.#whyNoHttpCheck() ?? request.problem);
    if (request && problem !== undefined)
      this.#note(
        request.lines,
        `${problem} The suite checks each server with a TCP connection.`,
        'Set check after the import, if it is needed: PUT /api/v1/domains/{domain}/pool-options.',
      );
    const check = { ...(problem === undefined ? httpCheck(request) : { type: 'tcp' as const }), ...times };
    return check.type === 'tcp' && Object.keys(times).length === 0 ? {} : { check };
  }

  /** A check that the servers did not have could find them DOWN. */
  #whyNoHttpCheck(): string | undefined {
    if (this.#servers.some(({ isChecked }) => !isChecked))
      return 'Not all servers of the backend have a check.';
    if (this.#servers.some(({ hasOtherCheck }) => hasOtherCheck))
      return 'A server is checked on another port, at another address or with TLS.';
    return undefined;
  }

  #checkTimes(): Pick<PoolCheck, 'interval' | 'rise' | 'fall'> {
    const checked = this.#servers.filter(({ isChecked }) => isChecked);
    const texts = new Set(checked.map(({ check }) => JSON.stringify(check)));
    const [first] = checked;
    if (texts.size <= 1) return first?.check ?? {};
    this.#note(
      checked.filter(({ check }) => Object.keys(check).length > 0).map(({ source }) => source),
      'The servers have different times and limits of health checks. A pool has the same for all.',
      'Set check after the import: PUT /api/v1/domains/{domain}/pool-options.',
    );
    return {};
  }
}

function httpCheck(request: CheckRequest | undefined): PoolCheck {
  if (!request) return { type: 'tcp' };
  const { method, path, host, status } = request;
  return {
    type: 'http',
    method,
    path,
    ...(host !== undefined && { host }),
    ...(status !== undefined && { status }),
  } as PoolCheck;
}
