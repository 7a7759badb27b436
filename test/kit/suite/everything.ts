import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, relative } from 'node:path';
import { text } from 'node:stream/consumers';

/** Everything that a change could leave behind: the hash of every file in a home, and the content of HAProxy. */
export async function everythingIn(home: string, socket: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {
    haproxy: await haproxyContent(socket, join(home, 'conf/domains.map')),
  };
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(home, path);
    // down-servers.state follows the health of the servers, not the changes.
    if (!entry.isFile() || name.startsWith('run/') || name === 'conf/down-servers.state') continue;
    found[name] = createHash('sha256')
      .update(await readFile(path))
      .digest('hex');
  }
  return found;
}

/** Names, addresses, administrative states, weights, certificates and process. Omits values that change without a command. */
async function haproxyContent(socket: string, map: string): Promise<unknown[]> {
  const answers = await Promise.all(
    [`show map ${map}`, 'show servers state', 'show ssl cert', 'show info'].map(async (command) => {
      const connection = connect(socket);
      connection.end(`${command}\n`);
      return (await text(connection)).split('\n');
    }),
  );
  const [entries = [], servers = [], certificates = [], info = []] = answers;
  return [
    entries.map((line) => line.split(' ').slice(1)),
    servers.map((line) => line.split(' ')).map((row) => [row[1], row[3], row[4], row[6], row[7], row[18]]),
    certificates,
    info.filter((line) => /^(Pid|Release_date|Nbthread):/.test(line)),
  ];
}
