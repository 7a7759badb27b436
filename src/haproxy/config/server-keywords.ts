/**
 * The keywords of every server, in pools.cfg and in `add server`, unless `defaults pools` of haproxy.cfg sets them. They
 * are not in a `default-server` line, because a server added at run time ignores `default-server`.
 */
export const SERVER_KEYWORDS: readonly string[] = ['check', 'inter', '2s', 'fall', '3', 'rise', '2'];

/** How a keyword of `default-server` reaches a server that is added at run time. */
export type RuntimeUse =
  /** `add server` accepts the keyword. */
  | 'sent'
  /** The keyword has no effect on the servers of a pool, or is the default. It is left out. */
  | 'without effect'
  /** `add server` refuses the keyword, so servers in the files and servers added at run time would differ. */
  | 'refused';

interface KeywordRule {
  /** The number of words after the keyword. */
  args: number;
  use: RuntimeUse;
}

const WITHOUT_ARGUMENT =
  'agent-check allow-0rtt backup check check-reuse-pool check-send-proxy check-ssl check-via-socks4 force-sslv3 ' +
  'force-tlsv10 force-tlsv11 force-tlsv12 force-tlsv13 no-check-sni-auto no-renegotiate no-sni-auto no-ssl-reuse ' +
  'no-tls-tickets renegotiate send-proxy send-proxy-v2 send-proxy-v2-ssl send-proxy-v2-ssl-cn ssl strict-maxconn ' +
  'tfo tls-tickets';
const WITH_ARGUMENT =
  'addr agent-addr agent-inter agent-port agent-send alpn ca-file check-alpn check-pool-conn-name check-proto ' +
  'check-sni ciphers ciphersuites client-sigalgs cookie crl-file crt curves downinter error-limit fall fastinter ' +
  'hash-key healthcheck idle-ping init-state inter ktls maxconn maxqueue minconn npn observe on-error on-marked-down ' +
  'on-marked-up pool-conn-name pool-low-conn pool-max-conn pool-purge-delay port proto proxy-v2-options rise shard ' +
  'sigalgs slowstart sni ssl-max-ver ssl-min-ver track verify verifyhost ws';
/** The suite sets the weight and the state of each server. Its servers have addresses, so no name is resolved. */
const WITHOUT_EFFECT: Readonly<Record<string, number>> = {
  disabled: 0,
  enabled: 0,
  weight: 1,
  'init-addr': 1,
  'resolve-net': 1,
  'resolve-opts': 1,
  'resolve-prefer': 1,
  resolvers: 1,
  stick: 0,
  'sni-auto': 0,
  'check-sni-auto': 0,
  'ssl-reuse': 0,
};
const REFUSED: Readonly<Record<string, number>> = {
  'log-bufsize': 1,
  'log-proto': 1,
  'max-reuse': 1,
  namespace: 1,
  'non-stick': 0,
  redir: 1,
  socks4: 1,
};

/** The keywords of `default-server` (configuration manual, section 5.2; `add server help` of 3.0, 3.2 and 3.4). */
const RULES: ReadonlyMap<string, KeywordRule> = new Map<string, KeywordRule>([
  ...WITHOUT_ARGUMENT.split(' ').map((name): [string, KeywordRule] => [name, { args: 0, use: 'sent' }]),
  ...WITH_ARGUMENT.split(' ').map((name): [string, KeywordRule] => [name, { args: 1, use: 'sent' }]),
  ...Object.entries(WITHOUT_EFFECT).map(([name, args]): [string, KeywordRule] => [
    name,
    { args, use: 'without effect' },
  ]),
  ...Object.entries(REFUSED).map(([name, args]): [string, KeywordRule] => [name, { args, use: 'refused' }]),
]);

/** A keyword of `default-server` with its arguments. */
export interface ServerKeyword {
  name: string;
  /** The keyword and its arguments. */
  words: readonly string[];
  use: RuntimeUse | 'unknown';
}

/** Splits the words after `default-server` into keywords. Pure. An unknown keyword has no arguments. */
export function splitServerKeywords(words: readonly string[]): ServerKeyword[] {
  const found: ServerKeyword[] = [];
  let index = 0;
  while (index < words.length) {
    const name = words[index] ?? '';
    const { args, use } = ruleOf(name, words, index);
    found.push({ name, words: words.slice(index, index + 1 + args), use });
    index += 1 + args;
  }
  return found;
}

function ruleOf(
  name: string,
  words: readonly string[],
  index: number,
): { args: number; use: ServerKeyword['use'] } {
  const known = RULES.get(name);
  if (known) return known;
  if (name === 'source') return { args: sourceArguments(words, index), use: 'sent' };
  // The type of the field is a part of the keyword: `set-proxy-v2-tlv-fmt(0x20) "%[…]"`.
  if (name.startsWith('set-proxy-v2-tlv-fmt(')) return { args: 1, use: 'sent' };
  // `no-ssl` and the like cancel an earlier keyword; see `mergeServerKeywords`.
  if (name.startsWith('no-') && RULES.has(name.slice(3))) return { args: 0, use: 'without effect' };
  return { args: 0, use: 'unknown' };
}

/** `source ADDRESS [usesrc ADDRESS] [interface NAME]` */
function sourceArguments(words: readonly string[], index: number): number {
  let args = 1;
  while (['usesrc', 'interface'].includes(words[index + 1 + args] ?? '')) args += 2;
  return args;
}

/**
 * The keywords for `add server`, with those that HAProxy implies for a server of a file: its health check uses TLS and the
 * PROXY protocol as its requests do, unless the check has a port or an address of its own.
 */
export function withImpliedChecks(words: readonly string[]): string[] {
  if (words.includes('port') || words.includes('addr')) return [...words];
  const implied = [
    ...(words.includes('ssl') ? ['check-ssl'] : []),
    ...(words.some((word) => word.startsWith('send-proxy')) ? ['check-send-proxy'] : []),
  ];
  return [...words, ...implied.filter((word) => !words.includes(word))];
}

/** Applies several `default-server` lines, in order: a later keyword replaces the same earlier one, `no-ssl` removes `ssl`. */
export function mergeServerKeywords(keywords: readonly ServerKeyword[]): Map<string, ServerKeyword> {
  const merged = new Map<string, ServerKeyword>();
  for (const keyword of keywords) {
    const { name } = keyword;
    if (name.startsWith('no-')) merged.delete(name.slice(3));
    else merged.delete(`no-${name}`);
    if (name === 'enabled') merged.delete('disabled');
    merged.delete(name);
    merged.set(name, keyword);
  }
  return merged;
}
