import { closeSync, openSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort, makeHome } from './haproxy.mjs';
import { call } from './http.mjs';
import { startProcess } from './process.mjs';
import { makeState } from './state.mjs';

/** Linux counts CPU time for programs in hundredths of a second. */
const MS_PER_TICK = 10;
const MAIN = join(import.meta.dirname, '../../dist/main.js');

/** Starts the suite as a process, with its own HAProxy and a state of the given size. Resolves when it is ready. */
export async function startSuite(binary, size, env = {}) {
  const [apiPort, httpPort] = [await freePort(), await freePort()];
  const all = {
    HAPROXY_CONTROL: 'managed',
    HAPROXY_BIN: binary,
    HAPROXY_HTTP_BIND: `127.0.0.1:${httpPort}`,
    MCP_HOST: '127.0.0.1',
    MCP_PORT: String(apiPort),
    LOG_LEVEL: 'WARNING',
    ...env,
  };
  const { home, settings, remove } = await makeHome(all);
  const { renderState } = await import('../../build/storage/formats/servers-json.js');
  await mkdir(dirname(settings.files.servers), { recursive: true });
  await writeFile(settings.files.servers, renderState(1, (await makeState(size)).pools));
  const log = join(home, 'suite.log');
  const output = openSync(log, 'w');
  const started = performance.now();
  const child = startProcess(process.execPath, [MAIN], {
    env: {
      PATH: process.env.PATH,
      HAPROXY_HOME: home,
      HAPROXY_SOCKET: join(home, 'run/haproxy.sock'),
      HAPROXY_HTTPS_BIND: '',
      HAPROXY_METRICS_BIND: '',
      ...all,
    },
    output,
    signal: 'SIGTERM',
  });
  closeSync(output);
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  while ((await call(agent, apiPort, 'GET', '/readyz').catch(() => ({ status: 0 }))).status !== 200) {
    if (child.hasExited()) {
      const text = await readFile(log, 'utf8');
      await remove();
      throw new Error(`the suite did not start: ${text.trim()}`);
    }
    await delay(5);
  }
  const readyMs = performance.now() - started;
  const token = /^MCP_TOKEN=(\S+)$/m.exec(await readFile(settings.files.token, 'utf8'))[1];
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return {
    settings,
    readyMs,
    httpPort,
    headers,
    url: `http://127.0.0.1:${apiPort}`,
    /** One REST call. Rejects if the status is 300 or more. */
    api: async (method, path, body) => {
      const answer = await call(agent, apiPort, method, `/api/v1${path}`, headers, body);
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
      return answer;
    },
    post: (path, body, more = {}) => call(agent, apiPort, 'POST', path, { ...headers, ...more }, body),
    /** Imports domains from lines of JSON. */
    import: async (lines) => {
      const type = { ...headers, 'content-type': 'application/x-ndjson' };
      const answer = await call(agent, apiPort, 'POST', '/api/v1/import', type, lines);
      if (answer.status >= 300) throw new Error(`import: ${answer.status} ${answer.text}`);
    },
    /** Values of `/metrics` from one request, because some metrics restart with each request. */
    metrics: async (...names) => {
      const { text } = await call(agent, apiPort, 'GET', '/metrics', headers);
      return names.map((name) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)[1]));
    },
    rssMiB: () => residentMiB(child.pid),
    /** The highest resident memory since the start. */
    peakMiB: () => residentMiB(child.pid, 'VmHWM'),
    /** The user and system time of the process until now, in milliseconds (proc(5)). */
    cpuMs: async () => {
      const fields = (await readFile(`/proc/${child.pid}/stat`, 'utf8')).split(') ')[1].split(' ');
      return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK;
    },
    openFiles: async () => (await readdir(`/proc/${child.pid}/fd`)).length,
    stop: async () => {
      agent.destroy();
      await child.stop();
      await remove();
    },
  };
}

/** Resident memory of a process in MiB: now, or the peak with `VmHWM` (proc(5)). */
export async function residentMiB(pid, field = 'VmRSS') {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)[1]) / 1024;
}
