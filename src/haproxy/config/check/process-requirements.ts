import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import type { Settings } from '../../../settings/settings.js';
import type { ConfigMessage, ConfigMessages } from '../config-messages.js';
import type { ConfigSection } from '../config-parser.js';

/** How HAProxy is started, as far as `haproxy -c` does not check it. */
export interface ProcessFacts {
  control: Settings['control'];
  /** The user and the rights of the process that starts HAProxy. Undefined if the suite does not start it. */
  starter?: Starter | undefined;
}

export interface Starter {
  uid: number;
  user: string;
  canChangeUser: boolean;
  canChroot: boolean;
}

/** Bits of the capability set (capability.h). */
const CAP_SETUID = 7;
const CAP_SYS_CHROOT = 18;

/** The rights of this process, which HAProxy inherits in managed mode. */
export function currentStarter(): Starter {
  const effective = /^CapEff:\s*(?<bits>[0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  const bits = BigInt(`0x${effective?.groups?.['bits'] ?? '0'}`);
  const has = (bit: number): boolean => ((bits >> BigInt(bit)) & 1n) === 1n;
  const { uid, username } = userInfo();
  return { uid, user: username, canChangeUser: has(CAP_SETUID), canChroot: has(CAP_SYS_CHROOT) };
}

/**
 * Lines of `global` that HAProxy accepts in a check, but with which the control mode cannot run HAProxy (errors), or
 * that do not do what they say (warnings). Pure.
 */
export function processRequirements(sections: readonly ConfigSection[], facts: ProcessFacts): ConfigMessages {
  const found: ConfigMessages = { errors: [], warnings: [] };
  for (const { keyword, file, lines } of sections) {
    if (keyword !== 'global') continue;
    for (const { line, words } of lines) {
      const at = (message: string): ConfigMessage => ({ file, line, message });
      const error = refusal(words, facts.starter);
      if (error !== undefined) found.errors.push(at(error));
      const warning = warningOf(words, facts.control);
      if (warning !== undefined) found.warnings.push(at(warning));
    }
  }
  return found;
}

function refusal([keyword, value = '']: readonly string[], starter: Starter | undefined): string | undefined {
  if (!starter) return undefined;
  const start = `'${keyword} ${value}': the suite starts HAProxy as the user ${starter.user}, which`;
  if (keyword === 'chroot' && !starter.canChroot)
    return `${start} may not use chroot, so HAProxy would not start. Remove the line, or run the suite as root.`;
  const isOther =
    (keyword === 'user' && value !== starter.user) || (keyword === 'uid' && Number(value) !== starter.uid);
  if (isOther && !starter.canChangeUser)
    return `${start} may not become another user, so HAProxy would not start. Remove the line, or run the suite as root.`;
  return undefined;
}

function warningOf(words: readonly string[], control: Settings['control']): string | undefined {
  const [keyword, option] = words;
  if (keyword === 'daemon') return DAEMON[control];
  if (keyword === 'master-worker' && option === 'no-exit-on-failure' && control !== 'managed')
    return "'master-worker no-exit-on-failure': if the worker crashes, the master continues without a worker, and nothing restarts HAProxy. Remove the option.";
  return undefined;
}

const DAEMON: Record<Settings['control'], string | undefined> = {
  managed:
    "'daemon' has no effect: the suite starts HAProxy in the foreground (-db), because it restarts a HAProxy that exits. Remove the line.",
  systemd:
    "'daemon' detaches HAProxy from systemd unless the unit starts it with -Ws or -db. Remove the line, or check ExecStart.",
  podman:
    "'daemon' ends the container at its next start unless the container starts HAProxy with -db. Remove the line, or check the command of the container.",
  master: undefined,
};
