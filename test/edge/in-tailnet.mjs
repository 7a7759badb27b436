// Runs in a new network namespace (tailnet.spec.ts), which becomes a machine with a local network and, later, a tailnet.
// Two more namespaces are the peers. Prints what each step found, as JSON. All namespaces end with this process.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

const { suite, env, port, token, mode } = await json(process.stdin);
const [LAN, LAN_PEER, SPOOFED] = ['192.0.2.1', '192.0.2.9', '100.99.0.1'];
const [TAILNET, TAILNET_PEER, MOVED] = ['100.64.7.2', '100.64.0.9', '100.64.7.3'];
const [TAILNET6, TAILNET6_PEER] = ['fd7a:115c:a1e0::2', 'fd7a:115c:a1e0::9'];
/** A carrier gives the machine this address, on the interface that leads to the internet. */
const [CARRIER, CARRIER_PEER] = ['100.70.0.1', '100.70.0.9'];
/** The network of a cluster, which does not lead to the internet. */
const [CLUSTER, CLUSTER_PEER] = ['100.80.0.1', '100.80.0.9'];

/** A client in a namespace: for each line of requests, the first line of the response or the code of the error. */
const CLIENT = `
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { from, to, port, text, keep } = JSON.parse(line);
  const socket = require('node:net').connect({ host: to, port, localAddress: from }, () => (text === '' ? done('connected') : socket.write(text)));
  let received = '';
  let isDone = false;
  const done = (answer) => {
    if (!isDone) process.stdout.write(answer + '\\n');
    isDone = true;
    if (!keep) socket.destroy();
  };
  socket.setTimeout(10_000, () => keep || done('timeout'));
  socket.on('error', ({ code }) => done(code));
  socket.on('data', (chunk) => {
    received += chunk;
    if (received.includes('\\r\\n')) done(received.split('\\r\\n', 1)[0]);
  });
  socket.on('close', () => done('closed'));
});
`;

const children = [];
const [lanPid, tailPid] = [await namespace(), await namespace()];
const [lan, tail, own] = [client(lanPid), client(tailPid), client()];
let service;
try {
  run('ip link set lo up');
  run(`ip link add lan0 type veth peer name eth0 netns ${lanPid}`);
  run(`ip addr add ${LAN}/24 dev lan0 && ip addr add ${CARRIER}/24 dev lan0 && ip link set lan0 up`);
  // The peer in the local network is the way to all other addresses, so it gets the answers to an address that it claims.
  run(`ip route add default via ${LAN_PEER}`);
  run('for file in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$file; done');
  run(
    `ip link set lo up; for ip in ${LAN_PEER}/24 ${CARRIER_PEER}/24; do ip addr add $ip dev eth0; done; ip link set eth0 up
     ip addr add ${SPOOFED}/32 dev lo; ip route add 100.64.7.0/24 via ${LAN} src ${LAN_PEER}`,
    lanPid,
  );
  const found = mode === 'tailnet' ? await withTailnet() : await withEveryAddress();
  process.stdout.write(JSON.stringify(found));
} finally {
  for (const child of [service, ...children]) child?.kill('SIGKILL');
}

/** MCP_HOST=tailnet */
async function withTailnet() {
  await start({});
  const found = { before: await ask(lan, LAN_PEER, LAN) };
  addTailnet(TAILNET);
  found.tailnet = await until(() => ask(tail, TAILNET_PEER, TAILNET), ' 200 ');
  found.tailnet6 = await until(() => ask(tail, TAILNET6_PEER, TAILNET6), ' 200 ');
  found.wrongToken = await ask(tail, TAILNET_PEER, TAILNET, 'wrong-token-0123456789');
  found.large = await ask(tail, TAILNET_PEER, TAILNET, token, 'x'.repeat(300_000));
  found.lan = await ask(lan, LAN_PEER, LAN, token);
  found.lanToTailnetAddress = await ask(lan, LAN_PEER, TAILNET, token);
  found.spoofed = await ask(lan, SPOOFED, TAILNET);
  found.spoofedWithToken = await ask(lan, SPOOFED, TAILNET, token);
  found.own = await ask(own, TAILNET, TAILNET);
  found.own6 = await ask(own, TAILNET6, TAILNET6);
  found.ownWithToken = await ask(own, TAILNET, TAILNET, token);
  found.loopback = await ask(own, '127.0.0.1', '127.0.0.1');
  run('ip link del tailscale0');
  addTailnet(MOVED);
  found.moved = await until(() => ask(tail, TAILNET_PEER, MOVED), ' 200 ');
  found.former = listening(TAILNET);
  // Connections that are idle, or have not sent anything, do not delay the stop.
  await ask(tail, TAILNET_PEER, MOVED, undefined, '', '/api/v1/audit', true);
  await silent(tail, TAILNET_PEER, MOVED);
  await silent(own, '127.0.0.1', '127.0.0.1');
  service.kill('SIGTERM');
  const [code] = await once(service, 'exit');
  found.exitCode = code;
  return found;
}

/** MCP_HOST=0.0.0.0 */
async function withEveryAddress() {
  addTailnet(TAILNET);
  run(`ip link add cni0 type veth peer name eth1 netns ${tailPid}`);
  run(`ip addr add ${CLUSTER}/24 dev cni0 && ip link set cni0 up`);
  run(`ip addr add ${CLUSTER_PEER}/24 dev eth1; ip link set eth1 up`, tailPid);
  await start({});
  const found = {
    tailnet: await ask(tail, TAILNET_PEER, TAILNET),
    own: await ask(own, TAILNET, TAILNET),
    spoofed: await ask(lan, SPOOFED, TAILNET),
    lanWithToken: await ask(lan, LAN_PEER, LAN, token),
    carrier: await ask(lan, CARRIER_PEER, CARRIER),
    cluster: await ask(tail, CLUSTER_PEER, CLUSTER),
    carrierToTailnetAddress: await ask(lan, CARRIER_PEER, TAILNET),
  };
  service.kill('SIGKILL');
  await once(service, 'exit');
  await start({ TRUSTED_NETWORKS: '100.64.0.0/10' });
  return {
    ...found,
    setOwn: await ask(own, TAILNET, TAILNET),
    setSpoofed: await ask(lan, SPOOFED, TAILNET),
    setCarrier: await ask(lan, CARRIER_PEER, CARRIER),
    setCluster: await ask(tail, CLUSTER_PEER, CLUSTER),
  };
}

async function start(more) {
  service = spawn(process.execPath, [suite], {
    env: { ...env, ...more },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await until(() => ask(own, '127.0.0.1', '127.0.0.1', undefined, '', '/healthz'), ' 200 ');
}

/** Tailscale has a route for each peer, and none for the addresses that no peer has. */
function addTailnet(address) {
  run(`ip link add tailscale0 type veth peer name peer0 netns ${tailPid}`);
  run(
    `ip addr add ${address}/32 dev tailscale0 && ip addr add ${TAILNET6}/128 dev tailscale0 nodad && ip link set tailscale0 up
     ip route add ${TAILNET_PEER}/32 dev tailscale0; ip route add ${TAILNET6_PEER}/128 dev tailscale0`,
  );
  run(
    `ip addr add ${TAILNET_PEER}/32 dev peer0; ip addr add ${TAILNET6_PEER}/128 dev peer0 nodad; ip link set peer0 up
     ip route add ${address}/32 dev peer0; ip route add ${TAILNET6}/128 dev peer0`,
    tailPid,
  );
}

/** The process id of a new network namespace. */
async function namespace() {
  const child = spawn('unshare', ['-n', 'sh', '-c', 'echo; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  await once(child.stdout, 'data');
  return child.pid;
}

function run(script, pid) {
  const command = [...enter(pid), 'sh', '-ec', script];
  const { status, stderr } = spawnSync(command[0], command.slice(1), { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${script}: ${stderr}`);
}

function enter(pid) {
  return pid === undefined ? [] : ['nsenter', '-t', String(pid), '-n'];
}

function listening(address) {
  const { stdout } = spawnSync('ss', ['-Hltn', `src ${address}`], { encoding: 'utf8' });
  return stdout.trim();
}

function request(to, bearer, body = '', path = '/api/v1/audit') {
  const host = to.includes(':') ? `[${to}]` : to;
  return [
    `${body === '' ? 'GET' : 'POST'} ${body === '' ? path : '/api/v1/import?dry_run=true'} HTTP/1.1`,
    `Host: ${host}:${port}`,
    ...(bearer === undefined ? [] : [`Authorization: Bearer ${bearer}`]),
    ...(body === '' ? [] : ['Content-Type: application/x-ndjson', `Content-Length: ${body.length}`]),
    '',
    body,
  ].join('\r\n');
}

/** The first line of the response, or the code of the error. `keep` leaves the connection open. */
async function ask(peer, from, to, bearer, body, path, keep = false) {
  const line = once(peer.lines, 'line');
  const text = request(to, bearer, body, path);
  peer.child.stdin.write(`${JSON.stringify({ from, to, port, text, keep })}\n`);
  return (await line)[0];
}

/** Opens a connection and sends nothing. */
async function silent(peer, from, to) {
  const line = once(peer.lines, 'line');
  peer.child.stdin.write(`${JSON.stringify({ from, to, port, text: '', keep: true })}\n`);
  await line;
}

function client(pid) {
  const [file, ...args] = [...enter(pid), process.execPath, '-e', CLIENT];
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  children.push(child);
  return { child, lines: createInterface({ input: child.stdout }) };
}

async function until(attempt, wanted) {
  const end = Date.now() + 40_000;
  for (;;) {
    const answer = await attempt();
    if (answer.includes(wanted) || Date.now() > end || service.exitCode !== null) return answer;
    await delay(20);
  }
}
