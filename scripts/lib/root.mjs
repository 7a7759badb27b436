import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { capture, ToolError } from './process.mjs';

const SCRIPT = fileURLToPath(new URL('root.sh', import.meta.url));

/**
 * Installs Debian packages into the folder `root`, so that systemd can boot from it. The packages must be complete: the
 * essential ones, and everything that they need. Needs root, and 700 MB of memory for the time of the call.
 * @returns {Promise<string>} the version of Debian, such as `13.2`.
 * @throws {ToolError} if this user is not root, or if a package cannot be installed.
 */
export async function installRoot(files, root) {
  if (process.getuid?.() !== 0) throw new ToolError('Only root can install a Debian into a folder.');
  mkdirSync(root, { recursive: true });
  const scratch = mkdtempSync(join(tmpdir(), 'hs-root-'));
  try {
    // The namespaces end the mounts, and with --kill-child every process that a package starts.
    const namespaces = ['--mount', '--pid', '--fork', '--kill-child'];
    const { code, output } = await capture('unshare', [...namespaces, 'sh', SCRIPT, scratch, root, ...files]);
    if (code !== 0)
      throw new ToolError(
        `The packages could not be installed:\n${output.trim().split('\n').slice(-12).join('\n')}`,
      );
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  return readFileSync(join(root, 'etc/debian_version'), 'utf8').trim();
}
