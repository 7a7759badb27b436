/** In which kind of section a directive has an effect. A `listen` section is both. */
type Side = 'frontend' | 'backend' | 'both';

/** What the import does with a directive of a proxy section. */
export type Treatment =
  /** Read by a parser of its own. */
  | { kind: 'read' }
  /** Belongs to HAProxy as a whole, its logs, its listeners or its limits: stays in haproxy.cfg, and changes no site. */
  | { kind: 'kept' }
  /** The options of the pool carry it (pool-options.ts), or say why they do not. */
  | { kind: 'option' }
  /** The sites work without it, but differently. */
  | { kind: 'differs'; reason: string; whatToDo: string }
  /** The sites could get the wrong answer without it, so they are not given. */
  | { kind: 'wrong'; reason: string; whatToDo: string };

export interface Directive {
  side: Side;
  treatment: Treatment;
}

const KEEP =
  'Add the line to the frontend of the suite in haproxy.cfg, or in `defaults pools` if it is about servers.';
const KEEP_SITE =
  'Keep this site in haproxy.cfg. If the line can be left out, run the import with --ignore FILE:LINE (REST: ignore).';

const read: Treatment = { kind: 'read' };
const kept: Treatment = { kind: 'kept' };
const differs = (reason: string, whatToDo = KEEP): Treatment => ({ kind: 'differs', reason, whatToDo });
const wrong = (reason: string, whatToDo = KEEP_SITE): Treatment => ({ kind: 'wrong', reason, whatToDo });
const option: Treatment = { kind: 'option' };

const TIMEOUT = 'A record has no timeouts of the client side.';
const RESPONSE = 'A record has no rules for responses.';
const ERROR_PAGES = 'A record has no error pages.';
const CHECK = 'A record has no such health check. The suite checks each server with a TCP connection.';
const COMPRESSION = 'A record has no compression.';
const STATS = 'The statistics page is no site.';
const STATS_DO = 'Keep the statistics page in a section of its own in haproxy.cfg.';

/** The directive → what the import does with it. The longest match of one, two or three words counts. */
const TABLE: readonly (readonly [Side, Treatment, string])[] = [
  [
    'both',
    read,
    'acl|bind|mode|use_backend|default_backend|redirect|block|http-request|tcp-request connection|tcp-request content|' +
      'tcp-request session|option forwardfor|server|default-server|disabled|enabled',
  ],
  [
    'both',
    kept,
    'log|no log|log-format|log-format-sd|log-tag|error-log-format|unique-id-format|maxconn|backlog|fullconn|description|id|capture|' +
      'declare|option httplog|option tcplog|option dontlognull|option dontlog-normal|option logasap|option log-separate-errors|' +
      'option log-health-checks|option http-server-close|option httpclose|option http-keep-alive|option http-tunnel|option forceclose|' +
      'option tcp-smart-accept|option tcp-smart-connect|option socket-stats|option splice-auto|option splice-request|' +
      'option splice-response|option nolinger|option clitcpka|option srvtcpka|option tcpka|option contstats|' +
      'option http-buffer-request|option redispatch|redispatch|option abortonclose|option http-ignore-probes|' +
      'option prefer-last-server|option http-no-delay|option http-use-htx|option persist|option allbackups|option tcp-check|' +
      'http-reuse|load-server-state-from-file|server-state-file-name|email-alert|stick-table|monitor fail|grace|' +
      'tcp-request inspect-delay|clitcpka-idle|srvtcpka-idle|option httpslog|option use-small-buffers|guid|hash-preserve-affinity|' +
      'option idle-close-on-response|max-session-srv-conns|rate-limit|http-request set-log-level|http-request capture|' +
      'http-request strict-mode|http-request wait-for-body|http-request wait-for-handshake|http-request set-nice|' +
      'http-request set-priority-class|http-request set-priority-offset|option h1-case-adjust-bogus-client|' +
      'option http-restrict-req-hdr-names',
  ],
  [
    'backend',
    option,
    'balance|hash-type|retries|retry-on|timeout connect|timeout server|timeout queue|timeout tunnel|contimeout|srvtimeout|' +
      'option httpchk|http-check|timeout check|cookie|stick on|stick match|stick store-request|stick store-response|appsession',
  ],
  [
    'frontend',
    differs(TIMEOUT, 'Set it in the frontend of the suite in haproxy.cfg.'),
    'timeout client|timeout http-request|timeout http-keep-alive|timeout client-fin|timeout tarpit|timeout client-hs|clitimeout',
  ],
  ['backend', differs('A record has no such timeout.'), 'timeout server-fin'],
  ['both', differs(RESPONSE), 'http-response|http-after-response|tcp-response'],
  ['both', differs(ERROR_PAGES), 'errorfile|errorfiles|errorloc|errorloc302|errorloc303|http-error'],
  ['both', differs(COMPRESSION), 'compression|filter compression|filter cache|http-request cache-use'],
  ['both', differs(STATS, STATS_DO), 'stats'],
  ['frontend', differs('The path of the monitor is no site.'), 'monitor-uri'],
  [
    'backend',
    differs(CHECK),
    'option smtpchk|option mysql-check|option pgsql-check|option redis-check|option ldap-check|option ssl-hello-chk|' +
      'option external-check|option spop-check|external-check|tcp-check|option lb-agent-chk',
  ],
  [
    'both',
    differs('A record has no such header.', 'Add it to the frontend of the suite in haproxy.cfg.'),
    'option originalto|unique-id-header|http-send-name-header|option http-pretend-keepalive|option h1-case-adjust-bogus-server',
  ],
  [
    'both',
    differs('A record has no setting for it.'),
    'source|option accept-invalid-http-request|option accept-invalid-http-response|option accept-unsafe-violations-in-http-request|' +
      'option accept-unsafe-violations-in-http-response|option checkcache|option independent-streams|option http_proxy|force-persist|' +
      'ignore-persist|http-request track-sc0|http-request track-sc1|http-request track-sc2|http-request set-timeout|' +
      'http-request set-tos|http-request set-mark|http-request set-fc-tos|http-request set-fc-mark|http-request disable-l7-retry|' +
      'http-request early-hint|http-request sc-inc-gpc|http-request sc-inc-gpc0|http-request sc-inc-gpc1|http-request sc-set-gpt0',
  ],
  [
    'both',
    wrong('This option changes where requests go.'),
    'option transparent|transparent|dispatch|use-fcgi-app',
  ],
  ['backend', wrong('The servers of this line are not known before HAProxy runs.'), 'server-template'],
  ['backend', wrong('A server is chosen by a rule. All servers of a pool get requests.'), 'use-server'],
];

const DIRECTIVES = new Map<string, Directive>(
  TABLE.flatMap(([side, treatment, phrases]) =>
    phrases.split('|').map((phrase): [string, Directive] => [phrase, { side, treatment }]),
  ),
);

const REMOVED: Directive = {
  side: 'both',
  treatment: wrong(
    'HAProxy 2.1 removed this directive.',
    'Replace it with an http-request rule, and check that HAProxy 3.0 accepts the file.',
  ),
};
const UNKNOWN: Directive = {
  side: 'both',
  treatment: wrong(
    'This import does not know the directive, so it cannot tell what it does to the sites of the section.',
  ),
};

/** What the import does with a directive. `no option X` and `default option X` are as `option X`. */
export function directiveOf(words: readonly string[]): Directive {
  const given = words[0] === 'no' || words[0] === 'default' ? words.slice(1) : words;
  for (let length = 3; length > 0; length -= 1) {
    const found = DIRECTIVES.get(given.slice(0, length).join(' '));
    if (found) return found;
  }
  return /^(?:req|rsp)[a-z]/.test(given[0] ?? '') ? REMOVED : UNKNOWN;
}
