import { ToolError } from './process.mjs';

/**
 * The oldest Node that the suite runs on.
 * @param {string} engines such as `>=20.19.0`, from package.json.
 */
export function oldestNode(engines) {
  const oldest = /^>=(?<major>\d+)\.(?<minor>\d+)\.\d+$/.exec(engines)?.groups;
  if (!oldest) throw new ToolError(`engines.node of package.json is ${engines}, and must be like >=20.19.0.`);
  return oldest;
}

/**
 * The text of dist/main.js. It says clearly that Node is too old, so it has only syntax that Node 10 can parse, and it
 * is valid as CommonJS and as an ES module: the folder may be in a package of either type.
 * @param {string} engines such as `>=20.19.0`, from package.json.
 */
export function entryText(engines) {
  const { major, minor } = oldestNode(engines);
  return `#!/usr/bin/env node
/* Written by scripts/bundle.mjs. Only syntax of Node 10, so that an old Node prints the message and no syntax error. */
var version = process.versions.node.split('.').map(Number);
if (version[0] < ${major} || (version[0] === ${major} && version[1] < ${minor})) {
  process.stderr.write(
    'haproxy-suite: This is Node ' + process.versions.node + ', and the suite needs Node ${major}.${minor} or newer. ' +
      'Install a newer Node, or start it with the path of one: /path/to/node ' + process.argv[1] + '\\n'
  );
  process.exitCode = 1;
} else import('./bundle/main.mjs');
`;
}
