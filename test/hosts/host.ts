import { expect } from 'vitest';
import type { MachineLoad } from '../kit/machine/load.js';
import type { Machine } from '../kit/machine/machine.js';
import { until } from '../kit/poll.js';

export const HOST = 'a.example';
export const BODY = 'hello';

const BACKEND = `require('node:http').createServer((_, response) => response.end('${BODY}')).listen(9001, '127.0.0.1');`;

/** Starts a web server on 127.0.0.1:9001 in the machine, which answers BODY, and makes a certificate for HOST. */
export async function startBackend(machine: Machine): Promise<void> {
  await machine.writeFile('/srv/backend.cjs', BACKEND);
  await machine.must('systemd-run --quiet --unit=backend node /srv/backend.cjs');
  await makeCertificate(machine);
}

/** A new self-signed certificate for HOST, with its key, in /srv/new.pem. */
export async function makeCertificate(machine: Machine): Promise<void> {
  const request = `-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=${HOST}`;
  await machine.must(
    `openssl req ${request} -addext subjectAltName=DNS:${HOST} -keyout /srv/key.pem -out /srv/cert.pem 2>/dev/null &&
     cat /srv/cert.pem /srv/key.pem >/srv/new.pem`,
  );
}

/** Waits until /readyz answers 200. A failure shows the logs of both units. */
export async function ready(machine: Machine): Promise<void> {
  try {
    await until(async () => (await machine.run('curl -sf http://127.0.0.1:8000/readyz')).code === 0, {
      interval: 100,
      timeout: 40_000,
    });
  } catch {
    const { stdout } = await machine.run('journalctl -n 60 --no-pager -u haproxy -u haproxy-mcp');
    throw new Error(`The suite is not ready:\n${stdout}`);
  }
}

/** Calls the REST API with curl in the machine. The status is 0 if there is no answer. */
export async function api(
  machine: Machine,
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; text: string }> {
  const data = body === undefined ? '' : `-H 'content-type: application/json' --data-binary @-`;
  const { stdout } = await machine.run(
    `. /opt/haproxy/conf/mcp-token.env; curl -s -X ${method} -H "Authorization: Bearer $MCP_TOKEN" ${data} -w '\\n%{http_code}' 'http://127.0.0.1:8000/api/v1${path}'`,
    body === undefined ? {} : { input: JSON.stringify(body) },
  );
  const cut = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(cut + 1)), text: stdout.slice(0, cut) };
}

/** Stops the load, of which no request may have failed. */
export async function expectNoFailure(load: MachineLoad): Promise<void> {
  const { requests, ...report } = await load.stop();
  expect(report).toEqual({ failed: 0, failures: [] });
  expect(requests).toBeGreaterThan(50);
}

/** Adds HOST with its server, and loads its certificate. */
export async function addSite(machine: Machine): Promise<void> {
  expect(await api(machine, 'PUT', `/domains/${HOST}`, { ip: '127.0.0.1', http_port: 9001 })).toMatchObject({
    status: 201,
  });
  await loadCertificate(machine);
}

export async function loadCertificate(machine: Machine): Promise<void> {
  const pem = await machine.readFile('/srv/new.pem');
  expect(await api(machine, 'POST', `/certificates/${HOST}/load`, { pem })).toMatchObject({ status: 200 });
}

const EXPECTED = [`1.1 ${BODY}`, `1.1 ${BODY}`, `2 ${BODY}`, `3 ${BODY}`];

/** HTTP, and HTTPS with HTTP/1.1, HTTP/2 and HTTP/3. Waits, because a new server is served after its first check. */
export async function expectServed(machine: Machine): Promise<void> {
  const curl = `curl -s -k --max-time 5 --resolve ${HOST}:80:127.0.0.1 --resolve ${HOST}:443:127.0.0.1`;
  const calls = [
    `http://${HOST}`,
    `--http1.1 https://${HOST}`,
    `--http2 https://${HOST}`,
    `--http3-only https://${HOST}`,
  ];
  const command = calls
    .map((call) => `{ body=$(${curl} -w ' %{http_version}' ${call}); echo "\${body##* } \${body% *}"; }`)
    .join('; ');
  let answers: string[] = [];
  await until(
    async () => {
      answers = (await machine.run(command)).stdout.trim().split('\n');
      return answers.join('|') === EXPECTED.join('|');
    },
    { interval: 100, timeout: 20_000 },
  ).catch(() => undefined);
  expect(answers).toEqual(EXPECTED);
}
