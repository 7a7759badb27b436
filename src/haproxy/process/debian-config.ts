import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { targetIn } from '../../lib/machine/image-root.js';

/**
 * The haproxy.cfg with which Debian's haproxy.service runs. `untouched` is the file of the package, which has no frontend
 * and opens no port: dpkg records the MD5 of each configuration file that it installed.
 */
export function readDebianConfig(root = '/'): 'missing' | 'untouched' | 'changed' {
  let content: Buffer;
  try {
    content = readFileSync(targetIn(root, '/etc/haproxy/haproxy.cfg'));
  } catch {
    return 'missing';
  }
  const [, shipped] = /^ \/etc\/haproxy\/haproxy\.cfg ([0-9a-f]{32})/m.exec(readDpkgStatus(root)) ?? [];
  return createHash('md5').update(content).digest('hex') === shipped ? 'untouched' : 'changed';
}

/** What dpkg knows of all packages; empty on another system. */
export function readDpkgStatus(root: string): string {
  try {
    return readFileSync(targetIn(root, '/var/lib/dpkg/status'), 'utf8');
  } catch {
    return '';
  }
}
