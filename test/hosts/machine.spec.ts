import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Machine } from '../kit/machine/machine.js';
import { whyNoMachine } from '../kit/machine/support.js';

const reason = whyNoMachine();
if (reason) process.stdout.write(`Skipped: tests of a booted Debian 13, because ${reason}\n`);

describe.skipIf(reason !== undefined)('Machine', () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.boot();
  });
  afterAll(() => machine?.stop());

  it('boots a Debian 13 whose units and files a test can change', async () => {
    await machine.waitForUnit('haproxy');
    expect(await machine.must('. /etc/os-release; echo $VERSION_ID')).toBe('13\n');
    await machine.writeFile('/srv/a/b', 'hello', '600');
    expect(await machine.must('stat -c %a%U /srv/a/b; cat /srv/a/b')).toBe('600root\nhello');
    expect(await machine.run('exit 3')).toMatchObject({ code: 3 });
  });

  it('stop ends every process and leaves no changed file', async () => {
    await machine.stop();
    expect(existsSync(`/proc/${machine.leader}`)).toBe(false);
    machine = await Machine.boot();
    expect(await machine.run('test -e /srv/a')).toMatchObject({ code: 1 });
  });
});
