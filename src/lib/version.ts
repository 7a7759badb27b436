import { readFileSync } from 'node:fs';

interface Package {
  version: string;
  engines: { node: string };
}

/** package.json. The relative path fits src/lib and build/lib; the bundle contains these two values itself. */
const PACKAGE: Package = readPackage();

export const VERSION = PACKAGE.version;

/** The oldest Node that the suite runs on, as in `engines` of package.json: `20.19`. */
export const OLDEST_NODE = PACKAGE.engines.node.replace(/^>=(\d+\.\d+)\..*$/, '$1');

/** `version` is that of Node, such as `v20.19.2`. */
export function isTooOldNode(version: string): boolean {
  const [major = 0, minor = 0] = numbers(version.replace(/^v/, ''));
  const [oldestMajor = 0, oldestMinor = 0] = numbers(OLDEST_NODE);
  return major < oldestMajor || (major === oldestMajor && minor < oldestMinor);
}

const numbers = (version: string): number[] => version.split('.').map(Number);

function readPackage(): Package {
  const file = new URL('../../package.json', import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as Package;
}
