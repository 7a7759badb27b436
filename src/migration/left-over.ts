import type { Note } from './actions.js';
import { doubtOf } from './conditions.js';
import type { Effect, Findings } from './findings.js';
import { isProxy, type Proxy } from './proxies.js';
import type { SourceLine, SourceSection } from './source-lines.js';

const NOT_USED = 'No record uses the servers of this backend.';
export const OUTSIDE = {
  effect: 'left_out',
  reason: 'The line is in no section.',
  whatToDo: 'Correct the file.',
} as const;
const UNREAD = {
  effect: 'left_out',
  reason: 'The line has no effect on the records.',
  whatToDo: 'Keep it in haproxy.cfg if it is needed.',
} as const;

/** Accounts for the lines that no domain was about. */
export class LeftOver {
  constructor(
    private readonly findings: Findings,
    /** Whether the suite does for every site what a rule does. */
    private readonly isCovered: (proxy: Proxy, rule: SourceLine) => boolean,
  ) {}

  ofProxies(
    proxies: readonly Proxy[],
    frontends: readonly Proxy[],
    usedBackends: ReadonlySet<string | undefined>,
  ): void {
    const { findings } = this;
    const read = new Set(frontends);
    for (const proxy of proxies) {
      findings.understood(proxy.section.head);
      if (read.has(proxy)) this.#noteDefaultBackend(proxy);
      else if (proxy.hasFrontend) continue;
      else if (!usedBackends.has(proxy.name)) {
        leaveOut(findings, proxy, NOT_USED, 'Keep the backend in haproxy.cfg if it is needed.');
        continue;
      }
      for (const { source, action, condition } of proxy.rules) {
        if (findings.isRead(source)) continue;
        const doubt = doubtOf(condition);
        const isCovered = this.isCovered(proxy, source);
        if (!isCovered && (action.type === 'wrong' || action.type === 'change'))
          findings.add(source, { effect: 'left_out', reason: action.reason, whatToDo: action.whatToDo });
        else if (doubt !== undefined && action.type !== 'nothing' && action.type !== 'set')
          findings.add(source, { effect: 'left_out', reason: doubt, whatToDo: UNREAD.whatToDo });
        else findings.understood(source);
      }
    }
  }

  ofSection(section: SourceSection): void {
    const { findings } = this;
    const lines = [section.head, ...section.lines];
    const isProcess = !isProxy(section) && section.keyword !== 'defaults';
    for (const line of lines) {
      if ((isProcess && !line.isConditional) || line === section.head) findings.understood(line);
      if (findings.isRead(line)) continue;
      if (line.words[0] === '#') findings.understood(line);
      else if (line.problem) findings.add(line, { effect: 'left_out', ...line.problem });
      else if (line.words[0] === 'acl')
        findings.add(line, {
          effect: 'left_out',
          reason: 'No rule that is read uses this ACL.',
          whatToDo: 'Nothing, if it is not needed.',
        });
      else findings.add(line, UNREAD);
    }
  }

  #noteDefaultBackend({ defaultBackend, section, rules }: Proxy): void {
    for (const { action, source } of rules)
      if (
        action.type === 'go' &&
        action.target.type === 'dynamic' &&
        action.target.expression.fallback !== undefined
      )
        this.findings.add(source, otherHosts(action.target.expression.fallback));
    if (!defaultBackend) return;
    const line = section.lines.includes(defaultBackend.source) ? defaultBackend.source : section.head;
    this.findings.add(line, otherHosts(defaultBackend.name));
  }
}

/** A section that is left out as a whole is one finding. */
export function leaveOut(findings: Findings, { section }: Proxy, reason: string, whatToDo: string): void {
  findings.add(section.head, { effect: 'left_out', reason, whatToDo }, undefined, section.lines.at(-1)?.line);
  for (const line of section.lines) findings.understood(line);
}

function otherHosts(backend: string): Note & { effect: Effect } {
  return {
    effect: 'left_out',
    reason: `Each host that is not named goes to the backend ${backend}. The suite answers 404 for a host that is no domain.`,
    whatToDo: `Add the other names that visitors use, or write "default_backend ${backend}" and the backend into haproxy.cfg of the suite.`,
  };
}
