// Runs in a new network namespace (tailnet.spec.ts). Starts the built suite, sends the requests that stdin lists from
// their addresses, and prints the first line of each response. The namespace ends with this process.
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { json } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';

const { suite, env, port, requests } = await json(process.stdin);
const child = spawn(process.execPath, [suite], { env, stdio: ['ignore', 'ignore', 'inherit'] });
try {
  const end = Date.now() + 50_000;
  const alive = 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n';
  while (!(await send({ from: '127.0.0.1', to: '127.0.0.1', text: alive })).includes(' 200 '))
    if (Date.now() > end || child.exitCode !== null) throw new Error('the suite did not start');
    else await delay(20);
  const answers = [];
  for (const request of requests) answers.push(await send(request));
  process.stdout.write(JSON.stringify(answers));
} finally {
  child.kill('SIGKILL');
}

function send({ from, to, text }) {
  return new Promise((resolve) => {
    let received = '';
    const socket = connect({ host: to, port, localAddress: from }, () => socket.write(text));
    socket.setTimeout(20_000, () => socket.destroy());
    socket.on('data', (chunk) => {
      received += chunk.toString();
    });
    socket.on('error', (error) => {
      received += error.message;
    });
    socket.on('close', () => resolve(received.split('\r\n', 1)[0]));
  });
}
