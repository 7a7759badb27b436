import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { toolPath } from '../../../test/kit/tool-path.js';
import { tempHome } from '../../../test/kit/temp-home.js';
import { shimEnvironment, writeShim } from './acme-shim.js';

const run = promisify(execFile);
/** Finds the curl of the machine, or else the one beside acme.sh. */
const PATH = `${process.env['PATH']}:${join(toolPath('acme.sh'), '../../acme.sh/helpers')}`;
let folder: Awaited<ReturnType<typeof tempHome>>;

beforeEach(async () => {
  folder = await tempHome();
  await writeShim(join(folder.path, 'shim'));
});
afterEach(() => folder.remove());

/** Runs a script in the way the suite runs acme.sh. */
async function runScript(text: string, args: string[] = []): Promise<string> {
  const script = join(folder.path, 'script');
  await writeFile(script, `#!/usr/bin/env sh\n${text}`, { mode: 0o755 });
  const env = shimEnvironment(join(folder.path, 'shim'), PATH, undefined);
  return (await run(script, args, { env })).stdout;
}

it.each(['Bearer plain', 'Bearer a"b\\c""\\\\', 'Digest username="x", nonce="\\"', '"', "it's $HOME `id`"])(
  'acme.sh shim > curl sends the header %j unchanged and not in its arguments',
  async (value) => {
    const seen: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      seen.push(request.headers.authorization, String(request.headers['x-other']));
      response.end('done');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await writeFile(join(folder.path, 'value'), value);
    // The shim starts this program, which records its arguments and runs curl.
    const bin = join(folder.path, 'data');
    await writeFile(
      join(bin, 'curl'),
      `#!/bin/sh\nprintf '%s\\n' "$*" >'${bin}/arguments'\nPATH=\${PATH#*'${bin}':} exec curl "$@"\n`,
      { mode: 0o755 },
    );
    try {
      const script = `PATH="\${PATH%%:*}:${bin}:\${PATH#*:}"\nvalue=$(cat '${folder.path}/value')\ncurl -s -H "Authorization: $value" -H '' -H 'X-Other: 1' http://127.0.0.1:${port}/`;
      expect(await runScript(script)).toBe('done');
    } finally {
      server.close();
    }
    expect(seen).toEqual([value, '1']);
    const { stdout } = await run('cat', [join(bin, 'arguments')]);
    expect(stdout).toBe(`--config - -s http://127.0.0.1:${port}/\n`);
  },
);
