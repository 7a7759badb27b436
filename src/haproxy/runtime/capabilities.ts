import type { HaproxyInfo } from '../parsers/info.parser.js';
import { type HaproxyVersion, isAtLeast, parseVersion } from '../parsers/version.parser.js';

/** What this HAProxy can do beyond what every 3.x can. */
export interface HaproxyCapabilities {
  version: HaproxyVersion;
  /** `add backend`, 3.4 and newer. */
  dynamicBackends: boolean;
}

export function capabilitiesOf(info: HaproxyInfo): HaproxyCapabilities {
  const version = parseVersion(info.version);
  return { version, dynamicBackends: isAtLeast(version, 3, 4) };
}
