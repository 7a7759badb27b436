import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A HAPROXY_HOME of its own, with the folders of one. The name is short: unix socket paths are. */
export async function tempHome(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'hs-'));
  for (const folder of ['conf', 'certs', 'data', 'run']) await mkdir(join(path, folder));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
