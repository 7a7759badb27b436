import { createHash, randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { writeFileAtomic } from '../../../lib/atomic-file.js';
import type { Settings } from '../../../settings/settings.js';
import { readTextIfPresent } from '../operator-config.js';

interface StoredId {
  id: string;
  /** The digest of the place that the id belongs to. */
  place: string;
}

/**
 * The id of this node in the header CDN-Loop (RFC 8586). Two nodes in one chain of proxies must not have the same id.
 * So the id is random, and a copy of the file on another machine or in another folder is replaced with a new id.
 */
export async function nodeId(settings: Settings): Promise<string> {
  const file = settings.files.nodeId;
  const place = await placeOf(settings.home);
  const stored = parse(await readTextIfPresent(file));
  if (stored?.place === place) return stored.id;
  const id = `suite-${randomBytes(8).toString('hex')}`;
  await writeFileAtomic(file, `${JSON.stringify({ id, place } satisfies StoredId)}\n`);
  return id;
}

/** Docker and Podman name a container by its id. The next container with the same volume has another name. */
const NAME_OF_CONTAINER = /^[0-9a-f]{12}$/;

/** The machine, and the folder: a copied folder has another inode number and another birth time. */
async function placeOf(home: string): Promise<string> {
  const machine = await readFile('/etc/machine-id', 'utf8').catch(() => '');
  const { ino, birthtimeMs } = await stat(home);
  const host = hostname();
  const name = NAME_OF_CONTAINER.test(host) ? '' : host;
  const facts = [machine.trim(), name, ino, Math.floor(birthtimeMs), home];
  return createHash('sha256').update(JSON.stringify(facts)).digest('hex').slice(0, 32);
}

function parse(text: string): StoredId | undefined {
  try {
    const { id, place } = JSON.parse(text) as Partial<StoredId>;
    return typeof id === 'string' && /^suite-[0-9a-f]{16}$/.test(id) && typeof place === 'string'
      ? { id, place }
      : undefined;
  } catch {
    return undefined;
  }
}
