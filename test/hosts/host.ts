import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Report } from '../../src/doctor/report.js';
import { quote } from '../../src/lib/shell-quote.js';
import type { MachineLoad } from '../kit/machine/load.js';
import type { Machine } from '../kit/machine/machine.js';
import { until } from '../kit/poll.js';

const ROOT = join(import.meta.dirname, '../..');

/** The site of the tests, and of the README. */
export const HOST = 'example.com';
export const BODY = 'hello';

const BACKEND = `require('node:http').createServer((_, response) => response.end('${BODY}')).listen(8080);`;

/** Starts a web server on 10.0.0.1:8080 in the machine, which answers BODY, and makes a certificate for HOST. */
export async function startBackend(machine: Machine): Promise<void> {
  await machine.writeFile('/srv/backend.cjs', BACKEND);
  await machine.must(
    `ip addr add 10.0.0.1/32 dev lo && echo '127.0.0.1 ${HOST}' >>/etc/hosts && systemd-run --quiet --unit=backend node /srv/backend.cjs`,
  );
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

/** The settings with which the suite uses the CA of `startCa`. */
export const CA_SETTINGS =
  'ACME_SERVER=https://127.0.0.1:14000/dir\nACME_CA_BUNDLE=/srv/ca/ca.pem\nACME_DNS=dns_pebble\nACME_DNS_SLEEP=0\n';

/** A CA for HTTPS of Pebble, Pebble with its name server, and a hook of acme.sh for that name server. */
const START_CA = `
cd /srv/ca
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=ca -keyout ca.key -out ca.pem \
  -addext basicConstraints=critical,CA:TRUE
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pebble -keyout pebble.key -out pebble.csr
printf 'subjectAltName=IP:127.0.0.1' >ext
openssl x509 -req -in pebble.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out pebble.pem
cat >pebble.json <<END
{"pebble":{"listenAddress":"127.0.0.1:14000","managementListenAddress":"127.0.0.1:15000","certificate":"/srv/ca/pebble.pem",
 "privateKey":"/srv/ca/pebble.key","httpPort":5002,"tlsPort":5001,"ocspResponderURL":"","retryAfter":{"authz":1,"order":1}}}
END
systemd-run --quiet --unit=ca-dns /srv/tools/bin/pebble-challtestsrv -dns01 127.0.0.1:8053 -management 127.0.0.1:8055 \
  -http01 '' -https01 '' -tlsalpn01 '' -doh ''
systemd-run --quiet --unit=ca -E PEBBLE_VA_NOSLEEP=1 -E PEBBLE_WFE_NONCEREJECT=0 /srv/tools/bin/pebble \
  -config /srv/ca/pebble.json -strict=false -dnsserver 127.0.0.1:8053
cat >/usr/share/acme.sh/dnsapi/dns_pebble.sh <<'END'
dns_pebble_add() { curl -s -d "{\\"host\\":\\"$1.\\",\\"value\\":\\"$2\\"}" http://127.0.0.1:8055/set-txt; }
dns_pebble_rm() { curl -s -d "{\\"host\\":\\"$1.\\"}" http://127.0.0.1:8055/clear-txt; }
END
`;

/** Brings acme.sh, and starts a CA in the machine, which the machine then trusts: Pebble, with a name server that acme.sh changes. */
export async function startCa(machine: Machine): Promise<void> {
  const tools = join(ROOT, '.tools');
  await machine.copyIn(join(tools, 'acme.sh/root/usr/share/acme.sh'), '/usr/share/acme.sh');
  await machine.copyIn(join(tools, 'pebble'), '/srv/tools/pebble');
  for (const name of ['pebble', 'pebble-challtestsrv'])
    await machine.writeFile(`/srv/tools/bin/${name}`, await readFile(join(tools, 'bin', name)), '755');
  await machine.must(`mkdir -p /srv/ca && sh -ec ${quote(START_CA)}`);
  const root = 'curl -sf --cacert /srv/ca/ca.pem https://127.0.0.1:15000/roots/0';
  await until(() => machine.must(`${root} >/usr/local/share/ca-certificates/pebble.crt`), {
    what: 'the root certificate of Pebble',
  });
  await machine.must('update-ca-certificates 2>&1');
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

/** Adds HOST with its server, and loads its certificate, with the command line. */
export async function addSite(machine: Machine, command = 'haproxy-suite'): Promise<void> {
  await machine.must(`${command} domains add ${HOST} --ip 10.0.0.1 --http-port 8080 --wait`);
  await loadCertificate(machine, command);
}

export async function loadCertificate(machine: Machine, command = 'haproxy-suite'): Promise<void> {
  await machine.must(`${command} certs load ${HOST} --pem - </srv/new.pem`);
}

/** The doctor finds no fault and can check everything. The machine has no network, so the domains have no DNS. */
export async function expectHealthyHost(machine: Machine, command = 'haproxy-suite'): Promise<void> {
  const { stdout } = await machine.run(`${command} doctor --json`);
  const { findings, not_run } = JSON.parse(stdout) as Report;
  expect(findings.map(({ subject, severity, problem }) => `${subject} ${severity} ${problem}`)).toEqual([]);
  expect(not_run.filter(({ subject }) => subject !== 'dns')).toEqual([]);
}

const EXPECTED = [`1.1 ${BODY}`, `1.1 ${BODY}`, `2 ${BODY}`, `3 ${BODY}`];

/** HTTP, and HTTPS with HTTP/1.1, HTTP/2 and HTTP/3. Waits, because a new server is served after its first check. */
export async function expectServed(machine: Machine): Promise<void> {
  const calls = [
    `http://${HOST}`,
    `--http1.1 https://${HOST}`,
    `--http2 https://${HOST}`,
    `--http3-only https://${HOST}`,
  ];
  const command = calls
    .map(
      (call) =>
        `{ body=$(curl -s -k --max-time 5 -w ' %{http_version}' ${call}); echo "\${body##* } \${body% *}"; }`,
    )
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
