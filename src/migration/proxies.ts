import {
  type AclFiles,
  type AclLine,
  type Condition,
  parseAcl,
  parseCondition,
  UnknownCondition,
} from './conditions.js';
import { type Action, bindActions, httpAction, redirectAction, tcpAction, useBackend } from './actions.js';
import { directiveOf } from './directives.js';
import { type ReadServer, readServer } from './servers.js';
import type { SourceLine, SourceSection } from './source-lines.js';

export interface Rule {
  source: SourceLine;
  condition: Condition | UnknownCondition | undefined;
  action: Action;
}

/** How visitors reach a frontend. */
export interface Entrance {
  tls: boolean;
  port: number | undefined;
  /** A load balancer in front says with the PROXY protocol which port the visitor connected to. */
  isProxied: boolean;
}

export interface Proxy {
  section: SourceSection;
  name: string;
  /** All lines in effect: those of the `defaults` sections, then its own. */
  lines: readonly SourceLine[];
  isHttp: boolean;
  isDisabled: boolean;
  hasFrontend: boolean;
  hasBackend: boolean;
  /** In the order in which HAProxy evaluates them. */
  rules: Rule[];
  defaultBackend: { name: string; source: SourceLine } | undefined;
  entrances: Entrance[];
  servers: ReadServer[];
}

const NAME_OF_PART = /^(?:frontend|backend|listen)$/;

export function isProxy({ keyword }: SourceSection): boolean {
  return NAME_OF_PART.test(keyword);
}

/** Reads the proxy sections. `onRead` is called for each line that has no rule and no effect on sites. */
export function readProxies(
  sections: readonly SourceSection[],
  files: AclFiles,
  onRead: (line: SourceLine) => void,
): Proxy[] {
  const defaults = new Map<string, SourceSection>();
  let last: SourceSection | undefined;
  return sections.flatMap((section) => {
    if (section.keyword === 'defaults') {
      last = section;
      defaults.set(section.name, section);
    }
    if (!isProxy(section)) return [];
    const chain = inherited(section.from === undefined ? last : defaults.get(section.from), defaults);
    files.budget.repeat(chain.length + chain.reduce((sum, { lines }) => sum + lines.length, 0));
    return [readProxy(section, chain, files, onRead)];
  });
}

/** The `defaults` sections that a section takes, the outermost first. Without `from`, a proxy takes the last one. */
function inherited(
  nearest: SourceSection | undefined,
  defaults: ReadonlyMap<string, SourceSection>,
): SourceSection[] {
  const chain = new Set<SourceSection>();
  let next = nearest;
  while (next && !chain.has(next)) {
    chain.add(next);
    next = next.from === undefined ? undefined : defaults.get(next.from);
  }
  return [...chain].toReversed();
}

/** The order of the rules of a request. */
const PHASES = ['tcp', 'http', 'redirect', 'backend'] as const;
type Phase = (typeof PHASES)[number];

function readProxy(
  section: SourceSection,
  defaults: readonly SourceSection[],
  files: AclFiles,
  onRead: (line: SourceLine) => void,
): Proxy {
  const lines = [...defaults.flatMap((one) => one.lines), ...section.lines];
  const hasFrontend = section.keyword !== 'backend';
  const hasBackend = section.keyword !== 'frontend';
  const phases: Record<Phase, Rule[]> = { tcp: [], http: [], redirect: [], backend: [] };
  const proxy: Proxy = {
    section,
    name: section.name,
    lines,
    isHttp: false,
    isDisabled: false,
    hasFrontend,
    hasBackend,
    rules: [],
    defaultBackend: undefined,
    entrances: [],
    servers: [],
  };
  const defaultServer: string[] = [];
  // A rule sees only the ACLs of its own section.
  const parts = [...defaults, section].map((part) => ({
    part,
    acls: readAcls(part.lines, files),
  }));
  for (const { line, acls } of parts.flatMap(({ part, acls }) =>
    part.lines.map((line) => ({ line, acls })),
  )) {
    const { words, problem } = line;
    const [first = ''] = words;
    if (first === 'acl' || (first.startsWith('.') && problem) || first === '#') {
      if (first === '#') onRead(line);
      continue;
    }
    if (first === 'server') {
      if (hasBackend) proxy.servers.push(readServer(line, defaultServer));
      continue;
    }
    const directive = directiveOf(words);
    const { treatment, side } = directive;
    const isHere = side === 'both' || (side === 'frontend' ? hasFrontend : hasBackend);
    if (!isHere || (first === 'use_backend' && !hasFrontend)) continue;
    if (treatment.kind === 'kept') {
      onRead(line);
      continue;
    }
    if (problem && first !== 'bind') {
      phases.tcp.push({ source: line, condition: undefined, action: { type: 'wrong', ...problem } });
      continue;
    }
    if (treatment.kind === 'option') {
      phases.tcp.push({ source: line, condition: undefined, action: { type: 'option' } });
      continue;
    }
    if (treatment.kind !== 'read') {
      const { reason, whatToDo } = treatment;
      const action: Action = { type: treatment.kind === 'wrong' ? 'wrong' : 'change', reason, whatToDo };
      phases.tcp.push({ source: line, condition: undefined, action });
      continue;
    }
    const isRule = readDirective(line, proxy, acls, defaultServer, phases, files);
    if (!isRule) onRead(line);
  }
  proxy.rules = PHASES.flatMap((phase) => phases[phase]);
  const isProxied = lines.some(
    ({ words }) => words[0] === 'tcp-request' && words[2]?.startsWith('expect-') === true,
  );
  if (isProxied) proxy.entrances = proxy.entrances.map((entrance) => ({ ...entrance, isProxied }));
  proxy.entrances = distinct(
    proxy.entrances.length > 0 ? proxy.entrances : [{ tls: false, port: undefined, isProxied: false }],
  );
  return proxy;
}

/** The lines of an ACL with the same name are alternatives. */
function readAcls(lines: readonly SourceLine[], files: AclFiles): Map<string, AclLine[]> {
  const acls = new Map<string, AclLine[]>();
  for (const line of lines) {
    const [first, name = '', ...criterion] = line.words;
    if (first !== 'acl') continue;
    const acl = line.problem
      ? { source: line, test: { type: 'unknown' as const, reason: line.problem.reason } }
      : parseAcl(criterion, line, files);
    const present = acls.get(name);
    if (present) present.push(acl);
    else acls.set(name, [acl]);
  }
  return acls;
}

/** Whether the line is a rule. Otherwise it is understood, and changes the proxy. */
function readDirective(
  line: SourceLine,
  proxy: Proxy,
  acls: ReadonlyMap<string, readonly AclLine[]>,
  defaultServer: string[],
  phases: Readonly<Record<Phase, Rule[]>>,
  files: AclFiles,
): boolean {
  const { words } = line;
  const [first = '', second = '', ...rest] = words;
  const at = words.findIndex((word, index) => index > 0 && (word === 'if' || word === 'unless'));
  const condition = at < 0 ? undefined : parseCondition(words.slice(at), line, acls, files);
  const useCondition = words.length > 2 ? parseCondition(words.slice(2), line, acls, files) : undefined;
  const before = at < 0 ? words : words.slice(0, at);
  const add = (phase: Phase, action: Action): true => {
    phases[phase].push({ source: line, condition, action });
    return true;
  };
  switch (first) {
    case 'mode':
      proxy.isHttp = second === 'http';
      return false;
    case 'disabled':
    case 'enabled':
      proxy.isDisabled = first === 'disabled';
      return false;
    case 'bind': {
      proxy.entrances.push(...entrancesOf(words));
      const actions = bindActions(words.slice(2));
      for (const action of actions) phases.tcp.push({ source: line, condition: undefined, action });
      return actions.length > 0;
    }
    case 'default-server':
      defaultServer.push(second, ...rest);
      return false;
    case 'default_backend':
      if (proxy.hasFrontend) proxy.defaultBackend = { name: second, source: line };
      return false;
    case 'use_backend':
      phases.backend.push({ source: line, condition: useCondition, action: useBackend(second, files) });
      return true;
    case 'redirect':
      return add('redirect', redirectAction(before.slice(1)));
    case 'block':
      return add('http', { type: 'answer', what: 'HAProxy answers 403' });
    case 'option':
      // `option forwardfor`: the suite adds X-Forwarded-For itself.
      return words.length > 2 && words[0] !== 'no'
        ? add('tcp', {
            type: 'change',
            reason:
              'The suite always adds X-Forwarded-For with the address of the visitor, without these conditions.',
            whatToDo: 'Check what your servers do with X-Forwarded-For.',
          })
        : false;
    case 'tcp-request':
      return add('tcp', tcpAction(before.slice(2)));
    default:
      return add('http', httpAction(before.slice(1), files));
  }
}

export function distinct(entrances: readonly Entrance[]): Entrance[] {
  return [...new Map(entrances.map((one) => [`${one.tls} ${one.port} ${one.isProxied}`, one])).values()];
}

function entrancesOf(words: readonly string[]): Entrance[] {
  const [, addresses = '', ...options] = words;
  const tls = options.includes('ssl');
  const isProxied = options.includes('accept-proxy') || options.includes('accept-netscaler-cip');
  return addresses.split(',').map((address) => {
    const port = /:(\d{1,5})$/.exec(address)?.[1];
    return { tls, port: port === undefined ? undefined : Number(port), isProxied };
  });
}
