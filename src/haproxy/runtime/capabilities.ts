import type { HaproxyInfo } from '../parsers/info.parser.js';
import { type HaproxyVersion, isAtLeast, parseVersion } from '../parsers/version.parser.js';

/** The features of a running HAProxy that not every 3.x version has. */
export interface HaproxyCapabilities {
  version: HaproxyVersion;
  /** `add backend` and `del backend`, since 3.4. */
  dynamicBackends: boolean;
}

export function capabilitiesOf(info: HaproxyInfo): HaproxyCapabilities {
  const version = parseVersion(info.version);
  return { version, dynamicBackends: isAtLeast(version, 3, 4) };
}
