import { findPoolOptionsProblem } from '../model/options/pool-options.js';
import type { SourceLine } from './source-lines.js';

/** The HTTP request of the health checks of a backend. */
export interface CheckRequest {
  /** All lines that say what the check is. */
  lines: SourceLine[];
  method: string;
  path: string;
  host: string | undefined;
  /** Undefined: any status from 200 to 399. */
  status: number | undefined;
  /** Why the options of a pool cannot have this check; undefined if they can. */
  problem: string | undefined;
}

const OTHER_CHECK =
  /^(?:tcp-check|smtpchk|mysql-check|pgsql-check|redis-check|ldap-check|ssl-hello-chk|spop-check)$/;
const UNKNOWN = 'The rules of the check say more than the options of a pool can have.';

/** Reads `option httpchk` and the `http-check` lines. Undefined without an HTTP check, also if a later line ends it. */
export function readCheckRequest(lines: readonly SourceLine[]): CheckRequest | undefined {
  const option = lines.findLast((line) => {
    const [first, second = '', third = ''] = line.words;
    return (first === 'option' && (second === 'httpchk' || OTHER_CHECK.test(second))) || third === 'httpchk';
  });
  if (!option || option.words[0] !== 'option' || option.words[1] !== 'httpchk') return undefined;
  const rules = lines.filter((line) => line.words[0] === 'http-check');
  // HAProxy sends OPTIONS / HTTP/1.0 if nothing says otherwise.
  const request: CheckRequest = {
    lines: [option, ...rules],
    method: 'OPTIONS',
    path: '/',
    host: undefined,
    status: undefined,
    problem: undefined,
  };
  const [, , first = '/', second, version = 'HTTP/1.0', ...others] = option.words;
  if (second === undefined) request.path = first;
  else [request.method, request.path] = [first, second];
  const sent = { version, isUnknown: others.length > 0 };
  for (const { words } of rules) readRule(words, request, sent);
  const count = (name: string): number => rules.filter(({ words }) => words[1] === name).length;
  const { method, path, host, status } = request;
  const check = {
    type: 'http',
    method,
    path,
    ...(host !== undefined && { host }),
    ...(status !== undefined && { status }),
  };
  // The suite sends HTTP/1.1 exactly if there is a Host.
  const isVersion =
    sent.version === 'HTTP/1.0' || sent.version === '' || (sent.version === 'HTTP/1.1' && host !== undefined);
  if (
    sent.isUnknown ||
    !isVersion ||
    count('send') > 1 ||
    count('expect') > 1 ||
    findPoolOptionsProblem({ check })
  )
    request.problem = UNKNOWN;
  return request;
}

/** `http-check send …` and `http-check expect …`. */
function readRule(
  [, rule = '', ...words]: readonly string[],
  request: CheckRequest,
  sent: { version: string; isUnknown: boolean },
): void {
  if (rule === 'expect') {
    const [kind, value = ''] = words;
    if (kind !== 'status' || words.length !== 2) sent.isUnknown = true;
    else if (/^\d{3}$/.test(value)) request.status = Number(value);
    else if (value !== '200-399') sent.isUnknown = true;
    return;
  }
  if (rule !== 'send') {
    sent.isUnknown ||= rule !== 'comment';
    return;
  }
  for (let at = 0; at < words.length; at += 2) {
    const [word, value = ''] = words.slice(at);
    if (word === 'meth') request.method = value;
    else if (word === 'uri') request.path = value;
    else if (word === 'ver') sent.version = value;
    else if (word === 'hdr' && value.toLowerCase() === 'host') request.host = words[(at += 1) + 1];
    else sent.isUnknown = true;
  }
}
