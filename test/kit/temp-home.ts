import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Creates a HAPROXY_HOME with its folders. The name is short because unix socket paths are limited. */
export async function tempHome(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'hs-'));
  for (const folder of ['conf', 'certs', 'data', 'run']) await mkdir(join(path, folder));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
