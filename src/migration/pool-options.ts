import type { CarriedFields } from './carried-fields.js';
import type { Proxy } from './proxies.js';
import { secondsOf } from './servers.js';

const BALANCE =
  /^(?:roundrobin|leastconn|random|source|uri|hash [^\p{Cc}\p{Cs}]{1,200}|hdr\([A-Za-z0-9-]{1,64}\)|url_param [A-Za-z0-9_.-]{1,64})$/u;
const TIMEOUTS = ['connect', 'server', 'queue', 'tunnel'] as const;

/** The options of a pool (SPEC section 9) that this version carries, from the lines of its backend. */
export function poolOptionsOf(proxy: Proxy, carried: CarriedFields): Record<string, unknown> {
  const last = (...words: string[]): readonly string[] | undefined =>
    proxy.lines
      .findLast((line) => words.every((word, index) => line.words[index] === word))
      ?.words.slice(words.length);
  const options: Record<string, unknown> = {};
  const balance = last('balance')?.join(' ');
  if (carried.balance && balance !== undefined && BALANCE.test(balance)) options['balance'] = balance;
  const retries = Number(last('retries')?.[0] ?? 'none');
  if (carried.retries && Number.isInteger(retries) && retries <= 100) options['retries'] = retries;
  const [cookie] = last('cookie') ?? [];
  if (carried.sticky && cookie !== undefined) options['sticky'] = cookie;
  const limits = proxy.servers.flatMap(({ maxConnections }) => maxConnections ?? []);
  if (carried.max_connections && limits.length > 0) options['max_connections'] = Math.max(...limits);
  const timeouts = Object.fromEntries(
    TIMEOUTS.flatMap((name) => {
      const seconds = secondsOf(last('timeout', name)?.[0] ?? '');
      return seconds === undefined ? [] : [[name, seconds]];
    }),
  );
  if (carried.timeouts && Object.keys(timeouts).length > 0) options['timeouts'] = timeouts;
  const check = checkOf(last('option', 'httpchk'), proxy);
  if (carried.check && Object.keys(check).length > 1) options['check'] = check;
  return options;
}

/** `option httpchk [METHOD] [URI]`, and the times of the first server that has some. */
function checkOf(words: readonly string[] | undefined, proxy: Proxy): Record<string, unknown> {
  const times = proxy.servers.find(({ check }) => Object.keys(check).length > 0)?.check ?? {};
  if (words === undefined) return { type: 'tcp', ...times };
  const [first = '/', second] = words;
  const [method, path] = second === undefined ? [undefined, first] : [first, second];
  const isKnown = method === undefined || /^(?:GET|HEAD|OPTIONS|POST)$/.test(method);
  return {
    type: 'http',
    ...(method !== undefined && isKnown && { method }),
    ...(/^\/[!-~]{0,2000}$/.test(path) && { path }),
    ...times,
  };
}
