import {
  type AclFiles,
  type AclLine,
  type Condition,
  parseAcl,
  parseCondition,
  UnknownCondition,
} from './conditions.js';
import { directiveOf } from './directives.js';
import { type HostExpression, parseHostExpression } from './host-value.js';
import { type ReadServer, readServer } from './servers.js';
import type { SourceLine, SourceSection } from './source-lines.js';

export interface Note {
  reason: string;
  whatToDo: string;
}

/** `use_backend NAME`, or a name that the Host decides: `before%[expression]after`. */
export type Target =
  | { type: 'name'; name: string }
  | { type: 'dynamic'; before: string; expression: HostExpression; after: string };

export type Action =
  | { type: 'set'; variable: string; expression: HostExpression | undefined }
  | { type: 'go'; target: Target }
  /** To the same host over https. */
  | { type: 'https'; code: number }
  /** `to` is the prefix of the same path and query; undefined for any other redirect. */
  | { type: 'redirect'; to: string | undefined; code: number }
  /** HAProxy answers, and no server. */
  | { type: 'answer'; what: string }
  /** The sites behave differently without the rule, unless `isCovered` says that the suite does the same. */
  | (Note & {
      type: 'change';
      isCovered?: (request: { tls: boolean; port: number | undefined }) => boolean;
    })
  /** The options of the pool have its effect, or say why they do not. */
  | { type: 'option' }
  /** The sites could get the wrong answer without the rule. */
  | (Note & { type: 'wrong' })
  | { type: 'nothing' };

export interface Rule {
  source: SourceLine;
  condition: Condition | UnknownCondition | undefined;
  action: Action;
}

/** How visitors reach a frontend. */
export interface Entrance {
  tls: boolean;
  port: number | undefined;
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
  acls: ReadonlyMap<string, readonly AclLine[]>;
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
  const defaults: SourceSection[] = [];
  return sections.flatMap((section) => {
    if (section.keyword === 'defaults') defaults.push(section);
    return isProxy(section) ? [readProxy(section, inherited(section, defaults), files, onRead)] : [];
  });
}

/** The `defaults` sections that a section takes, the outermost first. Without `from`, a proxy takes the last one. */
function inherited(section: SourceSection, defaults: readonly SourceSection[]): SourceSection[] {
  const chain: SourceSection[] = [];
  const { from } = section;
  let next = from === undefined ? defaults.at(-1) : defaults.findLast(({ name }) => name === from);
  while (next && !chain.includes(next)) {
    chain.unshift(next);
    const parent: string | undefined = next.from;
    next = parent === undefined ? undefined : defaults.findLast(({ name }) => name === parent);
  }
  return chain;
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
  const acls = readAcls(lines, files);
  const phases: Record<Phase, Rule[]> = { tcp: [], http: [], redirect: [], backend: [] };
  const proxy: Proxy = {
    section,
    name: section.name,
    lines,
    isHttp: false,
    isDisabled: false,
    hasFrontend,
    hasBackend,
    acls,
    rules: [],
    defaultBackend: undefined,
    entrances: [],
    servers: [],
  };
  const defaultServer: string[] = [];
  for (const line of lines) {
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
    const isRule = readDirective(line, proxy, defaultServer, phases, files);
    if (!isRule) onRead(line);
  }
  proxy.rules = PHASES.flatMap((phase) => phases[phase]);
  proxy.entrances = distinct(
    proxy.entrances.length > 0 ? proxy.entrances : [{ tls: false, port: undefined }],
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
  defaultServer: string[],
  phases: Readonly<Record<Phase, Rule[]>>,
  files: AclFiles,
): boolean {
  const { words } = line;
  const [first = '', second = '', ...rest] = words;
  const at = words.findIndex((word, index) => index > 0 && (word === 'if' || word === 'unless'));
  const condition = at < 0 ? undefined : parseCondition(words.slice(at), line, proxy.acls, files);
  const useCondition = words.length > 2 ? parseCondition(words.slice(2), line, proxy.acls, files) : undefined;
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

function bindActions(options: readonly string[]): Action[] {
  const verify = options[options.indexOf('verify') + 1];
  const asksClient = options.includes('verify') && (verify === 'required' || verify === 'optional');
  return [
    ...(asksClient
      ? [
          {
            type: 'wrong',
            reason: 'The listener asks visitors for a certificate.',
            whatToDo:
              'Write the same into HAPROXY_HTTPS_BIND or the bind of haproxy.cfg. Then run the import with --ignore FILE:LINE (REST: ignore).',
          } as const,
        ]
      : []),
    ...(options.includes('ssl')
      ? [
          {
            type: 'change',
            reason: 'Certificates are not imported.',
            whatToDo:
              'Load them with POST /api/v1/certificates/{domain}/load, or copy the PEM files into /opt/haproxy/certs.',
          } as const,
        ]
      : []),
    ...(options.includes('accept-proxy')
      ? [
          {
            type: 'change',
            reason: 'The PROXY protocol of a load balancer in front is a setting of the suite.',
            whatToDo: 'Set PROXY_PROTOCOL_FROM to the networks of the load balancer.',
          } as const,
        ]
      : []),
  ];
}

export function distinct(entrances: readonly Entrance[]): Entrance[] {
  return [...new Map(entrances.map((one) => [`${one.tls} ${one.port}`, one])).values()];
}

function entrancesOf(words: readonly string[]): Entrance[] {
  const [, addresses = '', ...options] = words;
  const tls = options.includes('ssl');
  return addresses.split(',').map((address) => {
    const port = /:(\d{1,5})$/.exec(address)?.[1];
    return { tls, port: port === undefined ? undefined : Number(port) };
  });
}

function useBackend(name: string, files: AclFiles): Action {
  if (!name.includes('%')) return { type: 'go', target: { type: 'name', name } };
  const [, before = '', expressionText, after = ''] = /^([^%]*)%\[(.+)\]([^%]*)$/.exec(name) ?? [];
  const expression =
    expressionText === undefined ? undefined : parseHostExpression(expressionText, files.map);
  if (expression) return { type: 'go', target: { type: 'dynamic', before, expression, after } };
  return {
    type: 'wrong',
    reason: 'The name of the backend depends on more than the Host, or on a map that is not given.',
    whatToDo:
      'Give the map (maps of POST /api/v1/import/haproxy, --map PATH=FILE). Otherwise keep these sites in haproxy.cfg.',
  };
}

const HOST = String.raw`%\[(?:req\.)?hdr\([Hh]ost\)(?:,lower)?\]`;
const SAME_HOST_LOCATION = new RegExp(
  `^https://${HOST}(?:%\\[(?:capture\\.req\\.uri|path|pathq|url)\\]|%\\[path\\]%\\[query\\]|%HU)$`,
);
const SAME_HOST_PREFIX = new RegExp(`^https://${HOST}$`);

function redirectAction(words: readonly string[]): Action {
  let [kind, to, code] = ['', '', 302];
  // Other words, such as drop-query, change the answer.
  let isPlain = true;
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? '';
    if (word === 'location' || word === 'prefix' || word === 'scheme') {
      kind = word;
      to = words[(at += 1)] ?? '';
    } else if (word === 'code') code = Number(words[(at += 1)]);
    else isPlain = false;
  }
  if (
    (kind === 'scheme' && to === 'https') ||
    (kind === 'location' && SAME_HOST_LOCATION.test(to)) ||
    (kind === 'prefix' && SAME_HOST_PREFIX.test(to))
  )
    return { type: 'https', code };
  return { type: 'redirect', to: kind === 'prefix' && isPlain ? to : undefined, code };
}

function tcpAction([action = '']: readonly string[]): Action {
  if (action === 'reject' || action === 'silent-drop')
    return { type: 'answer', what: 'HAProxy closes the connection' };
  if (action === 'accept' || action.startsWith('set-var') || action === 'unset-var' || action === 'capture')
    return { type: 'nothing' };
  if (action === 'expect-proxy')
    return {
      type: 'change',
      reason: 'The PROXY protocol of a load balancer in front is a setting of the suite.',
      whatToDo: 'Set PROXY_PROTOCOL_FROM to the networks of the load balancer.',
    };
  if (/^(?:track-sc|sc-|set-src|set-log-level|set-nice)/.test(action))
    return {
      type: 'change',
      reason: 'A record has no rules for connections.',
      whatToDo: 'Add the line to the frontend of haproxy.cfg.',
    };
  return {
    type: 'wrong',
    reason: `The action ${action} is not understood.`,
    whatToDo: 'Keep these sites in haproxy.cfg.',
  };
}

const ANSWERS: Readonly<Record<string, string>> = {
  deny: 'HAProxy refuses the request',
  tarpit: 'HAProxy refuses the request',
  reject: 'HAProxy closes the connection',
  'silent-drop': 'HAProxy closes the connection',
  return: 'HAProxy answers',
  auth: 'HAProxy asks for a password',
  'use-service': 'a service in HAProxy answers',
};

const HEADER: Note = {
  reason: 'A record has no headers.',
  whatToDo: 'Add the line to the frontend of the suite in haproxy.cfg, or let the server do it.',
};
const REWRITE =
  /^(?:set-path|set-pathq|replace-path|replace-pathq|set-query|set-uri|replace-uri|set-method|normalize-uri|set-dst|set-dst-port)$/;
const HEADERS =
  /^(?:set-header|add-header|replace-header|replace-value|del-header|set-headers-bin|add-headers-bin|del-headers-bin)$/;

function httpAction(words: readonly string[], files: AclFiles): Action {
  const [action = '', name = '', value = ''] = words;
  const answer = Object.hasOwn(ANSWERS, action) ? ANSWERS[action] : undefined;
  if (answer !== undefined) return { type: 'answer', what: answer };
  if (action === 'redirect') return redirectAction(words.slice(1));
  if (action === 'allow')
    return {
      type: 'wrong',
      reason: 'http-request allow ends the rules before the ones below it.',
      whatToDo: 'Write the condition into the rules below it, in a copy of the file.',
    };
  const variable = /^set-var\(([A-Za-z0-9_.]+)(?:,.*)?\)$/.exec(action)?.[1];
  if (variable !== undefined)
    return { type: 'set', variable, expression: parseHostExpression(words.slice(1).join(' '), files.map) };
  const formatted = /^(?:set-var-fmt|unset-var)\(([A-Za-z0-9_.]+)(?:,.*)?\)$/.exec(action)?.[1];
  if (formatted !== undefined) return { type: 'set', variable: formatted, expression: undefined };
  if (HEADERS.test(action)) return headerAction(action, name.toLowerCase(), value);
  if (action === 'set-src')
    return {
      type: 'change',
      reason: 'Which proxies are believed about the address of the visitor is a setting of the suite.',
      whatToDo: 'Set TRUSTED_PROXIES to the networks of your proxies.',
    };
  if (REWRITE.test(action))
    return {
      type: 'wrong',
      reason: 'The rule changes the request that servers get, and a record has no rewrites.',
      whatToDo: 'Keep this site in haproxy.cfg, or let the server answer the path that visitors use.',
    };
  return {
    type: 'wrong',
    reason: `The action ${action} is not understood.`,
    whatToDo:
      'Keep this site in haproxy.cfg. If the rule can be left out, run the import with --ignore FILE:LINE (REST: ignore).',
  };
}

/** The forwarding headers are those of suite.cfg (SPEC section 9): the suite sets them, and deletes what a client sends. */
function headerAction(action: string, name: string, value: string): Action {
  if (name === 'host')
    return {
      type: 'wrong',
      reason: 'The rule changes the Host that servers get. The suite passes the Host of the visitor.',
      whatToDo: 'Let the server answer the name that visitors use, or keep this site in haproxy.cfg.',
    };
  const change = { type: 'change', ...HEADER } as const;
  const always = { ...change, isCovered: () => true };
  if (action === 'del-header')
    return /^(?:x-forwarded-(?:for|proto|host|port)|x-real-ip)$/.test(name) ? always : change;
  if (action !== 'set-header' && action !== 'add-header') return change;
  if ((name === 'x-forwarded-for' || name === 'x-real-ip') && (value === '%[src]' || value === '%ci'))
    return always;
  if (name === 'x-forwarded-host' && /^%\[(?:req\.)?hdr\(host\)\]$/i.test(value)) return always;
  if (name === 'x-forwarded-port')
    return { ...change, isCovered: ({ port }) => value === '%[dst_port]' || value === String(port) };
  if (name === 'x-forwarded-proto')
    return {
      ...change,
      isCovered: ({ tls }) => value === (tls ? 'https' : 'http') || value === '%[ssl_fc,iif(https,http)]',
    };
  return change;
}
