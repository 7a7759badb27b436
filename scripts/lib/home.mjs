import { createHash } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { findHaproxy, toolHaproxy } from './haproxy.mjs';
import { checkPorts } from './ports.mjs';
import { say, ToolError } from './process.mjs';
import { ensureDependencies, ROOT } from './project.mjs';
import { Suite } from './suite.mjs';

/**
 * A suite that runs its own HAProxy from this checkout, with its state in a git-ignored folder.
 * @param {string} name of the folder, such as `.quickstart`. It keeps what the last run used in `last-run.json`.
 * @param {Record<string, number>} ports from `parsePorts`.
 * @param {object} [options]
 * @param {string} [options.haproxyVersion] such as `3.2`. Without it the HAProxy of this machine is preferred.
 * @param {string} [options.script] the main file of the suite in this checkout.
 * @returns `lastRun`, and `start(notes)`, which starts a `Suite` and saves the notes for the next run.
 * @throws {ToolError} if a port is taken, or if there is no HAProxy.
 */
export async function prepareHome(name, ports, { haproxyVersion, script = 'dist/main.js' } = {}) {
  const root = usableRoot();
  const home = join(root, name);
  mkdirSync(home, { recursive: true });
  const lastRun = readLastRun(home);
  await checkPorts(ports, lastRun.ports, join(home, 'run/haproxy.sock'));
  await ensureDependencies();
  const { path, version } = await (haproxyVersion ? toolHaproxy(haproxyVersion) : findHaproxy());
  say(`HAProxy ${version}: ${path}`);
  const haproxy = path.startsWith(ROOT) ? root + path.slice(ROOT.length) : path;

  const start = (notes = {}) => {
    const thisRun = { ports, haproxy: [haproxy, version], home, ...notes };
    renewConfig(home, readLastRun(home), thisRun);
    writeFileSync(join(home, 'last-run.json'), `${JSON.stringify(thisRun, null, 2)}\n`);
    return new Suite({
      script: join(ROOT, script),
      env: environment(home, haproxy, ports),
      // The .env file of the checkout may hold the settings of another installation.
      cwd: home,
      apiPort: ports['api-port'],
      tokenFile: join(home, 'conf/mcp-token.env'),
      onLine: (line) => say(`  | ${line}`),
    });
  };
  return { home, lastRun, start };
}

/**
 * This checkout, under a path that the suite and HAProxy accept: plain characters, and sockets of at most 92 bytes.
 * If the path of the checkout does not fit, a symbolic link in the temporary folder replaces it. The link always has
 * the same name, because haproxy.cfg keeps the paths of the first run.
 */
function usableRoot() {
  const longest = join(ROOT, '.quickstart/run/haproxy.sock');
  if (/^\/[A-Za-z0-9._/@+-]*$/.test(ROOT) && longest.length <= 92) return ROOT;
  const { uid } = userInfo();
  const folder = join(tmpdir(), `haproxy-suite-${uid}`);
  mkdirSync(folder, { mode: 0o700, recursive: true });
  const found = lstatSync(folder);
  // Every user may write to the temporary folder, so another user may have made this folder.
  if (!found.isDirectory() || found.uid !== uid || (found.mode & 0o022) !== 0)
    throw new ToolError(
      `The path of this checkout is too long or has special characters, and its replacement ${folder} does not belong ` +
        'to you alone. Remove that folder, or clone to a shorter path of plain characters.',
    );
  const link = join(folder, createHash('sha256').update(ROOT).digest('hex').slice(0, 8));
  if (lstatSync(link, { throwIfNoEntry: false })) {
    if (readlinkSync(link) === ROOT) return link;
    rmSync(link);
  }
  symlinkSync(ROOT, link);
  return link;
}

function readLastRun(home) {
  try {
    return JSON.parse(readFileSync(join(home, 'last-run.json'), 'utf8'));
  } catch {
    return {};
  }
}

/** The suite writes haproxy.cfg only once, so a run with other ports or another HAProxy moves it away. */
function renewConfig(home, lastRun, thisRun) {
  const file = join(home, 'conf/haproxy.cfg');
  const isSame = ['ports', 'haproxy', 'home'].every(
    (key) => JSON.stringify(lastRun[key]) === JSON.stringify(thisRun[key]),
  );
  if (isSame || !existsSync(file)) return;
  renameSync(file, `${file}.old`);
  say(
    'The ports or the HAProxy changed. The suite writes a new haproxy.cfg; the old one is now haproxy.cfg.old.',
  );
}

function environment(home, haproxy, ports) {
  // Settings of another installation in this shell must not reach this suite.
  const foreign = /^(?:HAPROXY_|MCP_|ALLOWED_|TRUSTED_NETWORKS$|RECONCILE$)/;
  const own = Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
  return {
    ...own,
    HAPROXY_HOME: home,
    HAPROXY_CONTROL: 'managed',
    HAPROXY_SOCKET: join(home, 'run/haproxy.sock'),
    HAPROXY_BIN: haproxy,
    HAPROXY_HTTP_BIND: `127.0.0.1:${ports['http-port']}`,
    HAPROXY_HTTPS_BIND: `127.0.0.1:${ports['https-port']}`,
    HAPROXY_METRICS_BIND: '',
    MCP_HOST: '127.0.0.1',
    MCP_PORT: String(ports['api-port']),
  };
}
