import { closeSync, fdatasync, fstatSync, openSync, writeSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { timed } from './figures.mjs';
import { bareExchange, makeHome, portOf, startEmpty } from './haproxy.mjs';

const syncData = promisify(fdatasync);
/** A pool of one server, with the room that it has in `pools.cfg`. */
const POOL = 'x'.repeat(256);

/** What a change leaves on disk at the least: itself and who made it, in one append. */
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

/** Runtime API commands for the operations that are measured, as the suite sends them. */
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
  /** In pieces that fit HAProxy's buffer. */
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
 * The bare cost of changes: files on the disk that the suite uses, and a HAProxy with empty pools, with nothing of the
 * suite around them. `record`, `wholeFiles` and `inPlace` are three ways to make a change durable; `send` makes it live.
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
    /** Milliseconds of a change at its least. */
    change: async (recorded, text) => (await record(recorded)) + (await send(text)),
    /**
     * Milliseconds to replace files by copies of these, safely (fsync, rename, fsync of the folder), and to append a
     * record to the audit log beside it.
     */
    wholeFiles: async (paths, recorded) => {
      const texts = await Promise.all(paths.map((path) => readFile(path)));
      return timed(() =>
        Promise.all([replaceFiles(dirname(files.map), texts), written(own.audit, recorded)]),
      );
    },
    /**
     * Milliseconds of what a change of a large state writes: two records (of the journal and of the audit log) and,
     * where there is one, a line of `domains.map`, all appended, and a pool written over in `pools.cfg`.
     */
    inPlace: (recorded, line = '') =>
      timed(() =>
        Promise.all([
          written(own.journal, recorded),
          written(own.audit, recorded),
          written(own.pools, POOL, 0),
          line === '' ? undefined : written(own.map, line),
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

/** A refused command costs less than one that is carried out, so a floor must not have any. */
async function exchange(path, text) {
  const pieces = await bareExchange(path, `prompt\nset severity-output number\n${text}quit\n`);
  const answer = Buffer.concat(pieces).toString('latin1');
  const refusal = /^.*(?:\[[0-3]\]:|Unknown command).*$/m.exec(answer);
  if (refusal) throw new Error(`the floor's HAProxy refused: ${refusal[0]}`);
}

/** At the end of the file, or at a place of it. */
async function written(descriptor, text, at = fstatSync(descriptor).size) {
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
