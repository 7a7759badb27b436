import { createSocket } from 'node:dgram';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Pebble, startPebble } from '../kit/certificates/pebble.js';
import { TxtRecords } from '../kit/certificates/txt-records.js';

const HOST = '_acme-challenge.example.com';
let pebble: Pebble;

beforeAll(async () => {
  pebble = await startPebble();
});
afterAll(() => pebble?.stop());

/** The answer to a TXT query over UDP without EDNS, as Pebble sends it. */
function queryTxt(host: string): Promise<Buffer> {
  const header = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
  const name = host.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  const [address, port] = pebble.dns.split(':');
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    socket.once('error', reject);
    socket.once('message', (message) => socket.close(() => resolve(message)));
    socket.send(Buffer.from([...header, ...name, 0, 0, 16, 0, 1]), Number(port), address);
  });
}

const content = (number: number) => `${number}-`.padEnd(43, 'x');

it('TxtRecords > keeps a new challenge readable while records of killed runs remain', async () => {
  const records = new TxtRecords(pebble);
  const ids: string[] = [];
  for (let number = 1; number <= 9; number += 1) {
    ids.push((await records.add(HOST, content(number))).id);
    const answer = await queryTxt(HOST);
    expect(answer.includes(content(number))).toBe(true);
    expect(answer.length).toBeLessThanOrEqual(512);
  }
  await records.remove(ids[8] ?? '');
  const answer = await queryTxt(HOST);
  expect(answer.includes(content(9))).toBe(false);
  for (const number of [5, 6, 7, 8]) expect(answer.includes(content(number))).toBe(true);
});
