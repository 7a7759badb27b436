import type { AclFiles } from './conditions.js';
import { type HostExpression, parseHostExpression } from './host-value.js';

export interface Note {
  reason: string;
  whatToDo: string;
}

/** `use_backend NAME`, or a name that the Host decides: `before%[expression]after`. */
export type Target =
  | { type: 'name'; name: string }
  | { type: 'dynamic'; before: string; expression: HostExpression; after: string };

export type Action =
  /** `isConditional`: the value that the variable had decides, such as `set-var(txn.x,ifnotexists)`. */
  | { type: 'set'; variable: string; expression: HostExpression | undefined; isConditional?: boolean }
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

export function bindActions(options: readonly string[]): Action[] {
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

export function useBackend(name: string, files: AclFiles): Action {
  if (!name.includes('%')) return { type: 'go', target: { type: 'name', name } };
  const [start, end] = [name.indexOf('%'), name.lastIndexOf(']')];
  const [before, after] = [name.slice(0, start), name.slice(end + 1)];
  const isOne = name.charAt(start + 1) === '[' && end > start && !after.includes('%');
  const expression = isOne ? parseHostExpression(name.slice(start + 2, end), files.map) : undefined;
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

export function redirectAction(words: readonly string[]): Action {
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

export function tcpAction([action = '']: readonly string[]): Action {
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

export function httpAction(words: readonly string[], files: AclFiles): Action {
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
  const [, variable, condition] = /^set-var\(([A-Za-z0-9_.]+)(,.*)?\)$/.exec(action) ?? [];
  if (variable !== undefined)
    return {
      type: 'set',
      variable,
      expression: parseHostExpression(words.slice(1).join(' '), files.map),
      isConditional: condition !== undefined,
    };
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
