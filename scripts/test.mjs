#!/usr/bin/env node
/**
 * `npm test`: runs all tests. Needs only Node and npm: it installs missing dependencies and tools, and builds. Arguments
 * go to vitest (`npm test -- src/settings`). HAPROXY_VERSIONS=3.0,3.2 selects the HAProxy versions to test with.
 */
import { join } from 'node:path';
import { ensureTool } from './lib/install.mjs';
import { foreground, main, say, ToolError } from './lib/process.mjs';
import { build, ensureDependencies, ROOT } from './lib/project.mjs';
import { isForThisMachine, recipeFor } from './lib/recipes.mjs';

const HAPROXY_VERSIONS = ['3.0', '3.2', '3.4'];

/** The tools that the tests run besides HAProxy. */
const TEST_TOOLS = [
  'acme.sh',
  'pebble',
  'curl-http3',
  'mcp-inspector',
  'spectral',
  'node-26',
  'prometheus',
  'jq',
  'sqlite3',
  'zsh',
];

/** What the tests of whole hosts boot (test/hosts). They need root, and are skipped where they cannot run. */
const HOST_TOOLS = ['machine', 'systemd-nspawn'];

function chosenVersions() {
  const value = process.env['HAPROXY_VERSIONS'] ?? '';
  const chosen = value
    .split(',')
    .map((version) => version.trim())
    .filter((version) => version !== '');
  const unknown = chosen.find((version) => !HAPROXY_VERSIONS.includes(version));
  if (unknown)
    throw new ToolError(
      `HAPROXY_VERSIONS=${value}: there is no version ${unknown}. The versions are: ${HAPROXY_VERSIONS.join(', ')}.`,
    );
  return chosen.length > 0 ? chosen : HAPROXY_VERSIONS;
}

await main(async (args) => {
  const versions = chosenVersions();
  await ensureDependencies();
  for (const version of versions) {
    const path = await ensureTool(`haproxy-${version}`);
    say(`HAProxy ${version}: ${path}`);
  }
  for (const tool of TEST_TOOLS) {
    if (isForThisMachine(recipeFor(tool))) await ensureTool(tool);
    else say(`Skipped: the tests with ${tool}, which there is not for this machine.`);
  }
  if (process.getuid?.() === 0)
    for (const tool of HOST_TOOLS)
      await ensureTool(tool).catch((error) => say(`${tool} is not ready: ${error.message}`));
  await build();
  say(`Running vitest against HAProxy ${versions.join(', ')} …`);
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs');
  const env = { ...process.env, HAPROXY_VERSIONS: versions.join(',') };
  return foreground(process.execPath, [vitest, 'run', ...args], { cwd: ROOT, env });
});
