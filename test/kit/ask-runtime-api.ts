import { connect } from 'node:net';

/** Sends one command to the Runtime API of HAProxy, as another program does, and returns the answer. */
export function askRuntimeApi(path: string, command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(path, () => socket.write(`${command}\n`));
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    socket.on('close', () => resolve(answer.trim()));
    socket.on('error', reject);
  });
}
