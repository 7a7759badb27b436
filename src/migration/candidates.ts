import { canonicalDomain } from '../model/names/domain-name.js';
import type { Budget } from './budget.js';
import { type AclLine, UnknownCondition } from './conditions.js';
import type { Findings } from './findings.js';
import type { HostExpression } from './host-value.js';
import type { MapLine } from './map-file.js';
import type { Proxy } from './proxies.js';
import type { SourceLine } from './source-lines.js';

/** A host that the configuration names. */
export interface Candidate {
  domain: string;
  /** The first line that names it. */
  source: SourceLine;
  /** The names with a port that the configuration has for it, such as `example.com:8080`. */
  withPort: Set<string>;
}

/** The hosts that the rules of the proxies name, in the order of the rules. Reports the names that no domain can have. */
export function candidatesOf(
  proxies: readonly Proxy[],
  backends: ReadonlyMap<string, Proxy>,
  findings: Findings,
  budget: Budget,
): Map<string, Candidate> {
  const candidates = new Map<string, Candidate>();
  const seen = new Set<AclLine>();
  const hostVariables = new Set(
    proxies.flatMap(({ rules }) =>
      rules.flatMap(({ action }) => (action.type === 'set' && action.expression ? [action.variable] : [])),
    ),
  );
  const add = (name: string, source: SourceLine): void => addName(candidates, findings, name, source);
  const addMap = (expression: HostExpression | undefined, source: SourceLine): void => {
    if (!expression?.map) return;
    let isComplete = true;
    budget.repeat(expression.map.lines.length);
    for (const { name, line, isComplete: isWhole } of expression.map.names()) {
      add(name, mapSource(expression.map.path, line));
      isComplete &&= isWhole;
    }
    if (!isComplete) findings.add(source, DEEPER);
  };
  const addAcl = (acl: AclLine): void => {
    if (seen.has(acl)) return;
    seen.add(acl);
    const { test, source } = acl;
    // An anonymous ACL is a part of its rule, which is reported if the ACL decides.
    const isNamed = source.words[0] === 'acl';
    if (test.type === 'acme') findings.add(source, ACME);
    else if (isNamed && test.type === 'unknown')
      findings.add(source, { effect: 'left_out', reason: test.reason, whatToDo: SEE_RULES });
    else if (isNamed) findings.understood(source);
    if (test.type !== 'host') return;
    const { variable } = test.expression;
    if (variable !== undefined && !hostVariables.has(variable)) {
      if (isNamed) findings.add(source, { effect: 'left_out', reason: NOT_HOST, whatToDo: SEE_RULES });
      return;
    }
    addMap(test.expression, source);
    if (test.expression.map) return;
    budget.repeat(test.exact.size);
    for (const name of test.exact) add(name.toLowerCase(), source);
    for (const { coverage } of test.patterns) {
      for (const name of coverage.names) add(name, source);
      if (!coverage.isComplete) findings.add(source, DEEPER);
    }
  };
  for (const { rules } of proxies)
    for (const { condition, action, source } of rules) {
      if (condition && !(condition instanceof UnknownCondition))
        for (const terms of condition.alternatives) for (const { lines } of terms) lines.forEach(addAcl);
      if (action.type === 'set') addMap(action.expression, source);
      if (action.type !== 'go' || action.target.type !== 'dynamic') continue;
      const { before, expression, after } = action.target;
      addMap(expression, source);
      // Without a map, the name of the backend has the host in it.
      if (expression.map) continue;
      budget.repeat(backends.size);
      for (const name of backends.keys())
        if (name.length > before.length + after.length && name.startsWith(before) && name.endsWith(after))
          add(name.slice(before.length, name.length - after.length).toLowerCase(), source);
    }
  return candidates;
}

const NOT_HOST = 'It compares a variable that is not the Host.';
const SEE_RULES = 'See the rules that use it.';
const DEEPER = {
  effect: 'left_out',
  reason:
    'It matches more names than the import can list. A wildcard of the suite (*.example.com) matches exactly one label, and the names that the records have are exact.',
  whatToDo: 'Add each other name that visitors use: POST /api/v1/domains with share_with.',
} as const;
const ACME = {
  effect: 'left_out',
  reason:
    'The path of ACME challenges belongs to the program that gets certificates, and no page of a site is there.',
  whatToDo:
    'Get the certificates with the suite (POST /api/v1/certificates), or keep the rule in the frontend of haproxy.cfg.',
} as const;

function mapSource(file: string, { line, key, value }: MapLine): SourceLine {
  return {
    file,
    line,
    text: `${key} ${value}`.trim(),
    words: [key, value],
    problem: undefined,
    isConditional: false,
  };
}

function addName(
  candidates: Map<string, Candidate>,
  findings: Findings,
  name: string,
  source: SourceLine,
): void {
  const [, host = name, port] = /^([^:]*):(\d{1,5})$/.exec(name) ?? [];
  const domain = host.endsWith('.') ? host.slice(0, -1) : host;
  if (canonicalDomain(domain) !== domain || /[^\x20-\x7e]/.test(domain)) {
    findings.add(source, {
      effect: 'left_out',
      reason: `${JSON.stringify(name.slice(0, 100))} is no name that a browser sends as Host and the suite can have: domains are in lower case and ASCII (xn--…), without other characters.`,
      whatToDo:
        'Write the name as a browser sends it, in a copy of the file. IPv6 addresses cannot be domains.',
    });
    return;
  }
  const candidate = candidates.get(domain) ?? { domain, source, withPort: new Set<string>() };
  candidates.set(domain, candidate);
  if (port !== undefined) candidate.withPort.add(`${domain}:${port}`);
}
