import { closeSync, fdatasync, fstatSync, openSync, writeSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { timed } from './figures.mjs';
import { bareExchange, makeHome, portOf, startEmpty } from './haproxy.mjs';

const syncData = promisify(fdatasync);
/** As many bytes as a pool of one server takes in `pools.cfg`, reserved space included. */
const POOL = 'x'.repeat(256);

/** The least that a change writes to disk: one appended record of the change and its author. */
export function recordOf(operation, args) {
  const entry = {
    seq: 1000,
    time: new Date().toISOString(),
    actor: 'token MCP_TOKEN',
    via: 'rest',
    operation,
  };
  const record = { ...entry, arguments: args, revision_before: 1000, revision_after: 1001, outcome: 'ok' };
  return `${JSON.stringify(record)}\n`;
}

/** The Runtime API commands of the measured operations, as the suite sends them. */
export const commands = {
  addServer: (pool, slot, port) => {
    const server = `${pool}/${pool}_${slot}`;
    return (
      `add server ${server} 127.0.0.1:${port} weight 1 check inter 2s fall 3 rise 2\n` +
      `enable health ${server}\nset server ${server} state ready\n`
    );
  },
  removeServer: (pool, slot) => {
    const server = `${pool}/${pool}_${slot}`;
    return `set server ${server} state maint\nwait 2s srv-removable ${server}\ndel server ${server}\n`;
  },
  setWeight: (pool, slot, weight) => `set server ${pool}/${pool}_${slot} weight ${weight}\n`,
  addDomain: (map, domain, pool) => `add map ${map} ${domain} ${pool}\n`,
  /** Split into payloads that fit the HAProxy buffer. */
  addDomains: (map, pairs) => {
    const texts = [];
    for (let start = 0; start < pairs.length; start += 300) {
      const piece = pairs.slice(start, start + 300).map(([domain, pool]) => `${domain} ${pool}\n`);
      texts.push(`add map ${map} <<\n${piece.join('')}\n`);
    }
    return texts.join('');
  },
};

/**
 * The floor: the cost of a change without the suite. It has files on the same disk as the suite, and a HAProxy with
 * empty pools. `record`, `wholeFiles` and `inPlace` write a change to disk in three ways; `send` applies it to HAProxy.
 * Each resolves to its duration in milliseconds.
 */
export async function startFloor(binary, poolCount) {
  const home = await makeHome();
  const haproxy = await startEmpty(binary, home.settings, poolCount);
  const { files, runtime } = home.settings;
  const journal = await open(join(home.home, 'floor.journal'), 'a');
  const own = {};
  for (const name of ['journal', 'audit', 'pools', 'map'])
    own[name] = openSync(join(home.home, `floor.own.${name}`), 'w+');
  const record = (text) =>
    timed(async () => {
      await journal.appendFile(text);
      await journal.datasync();
    });
  const send = (text) => timed(() => exchange(runtime.path, text));
  return {
    map: files.map,
    httpPort: portOf(home.settings),
    record,
    send,
    /** The least cost of a change: one record and its commands. */
    change: async (recorded, text) => (await record(recorded)) + (await send(text)),
    /** Replaces files by copies of `paths` with fsync, rename and fsync of the folder, and appends an audit record. */
    wholeFiles: async (paths, recorded) => {
      const texts = await Promise.all(paths.map((path) => readFile(path)));
      return timed(() =>
        Promise.all([replaceFiles(dirname(files.map), texts), writeAt(own.audit, recorded)]),
      );
    },
    /**
     * Writes what a change of a large state writes: appends a journal record, an audit record and optionally a line of
     * `domains.map`, and overwrites a pool in `pools.cfg`.
     */
    inPlace: (recorded, line = '') =>
      timed(() =>
        Promise.all([
          writeAt(own.journal, recorded),
          writeAt(own.audit, recorded),
          writeAt(own.pools, POOL, 0),
          line === '' ? undefined : writeAt(own.map, line),
        ]),
      ),
    stop: async () => {
      await journal.close();
      for (const descriptor of Object.values(own)) closeSync(descriptor);
      await haproxy.stop();
      await home.remove();
    },
  };
}

/** Throws if HAProxy refuses a command, because a refused command costs less than an applied one. */
async function exchange(path, text) {
  const pieces = await bareExchange(path, `prompt\nset severity-output number\n${text}quit\n`);
  const answer = Buffer.concat(pieces).toString('latin1');
  const refusal = /^.*(?:\[[0-3]\]:|Unknown command).*$/m.exec(answer);
  if (refusal) throw new Error(`the HAProxy of the floor refused a command: ${refusal[0]}`);
}

/** Writes and syncs a text at an offset, by default the end of the file. */
async function writeAt(descriptor, text, at = fstatSync(descriptor).size) {
  writeSync(descriptor, text, at);
  await syncData(descriptor);
}

async function replaceFiles(folder, texts) {
  const names = texts.map((_, index) => join(folder, `floor.${index}`));
  await Promise.all(texts.map((text, index) => writeSynced(`${names[index]}.tmp`, text)));
  for (const name of names) await rename(`${name}.tmp`, name);
  const handle = await open(folder, 'r');
  await handle.sync();
  await handle.close();
}

async function writeSynced(path, data) {
  const handle = await open(path, 'w');
  await handle.writeFile(data);
  await handle.sync();
  await handle.close();
}
