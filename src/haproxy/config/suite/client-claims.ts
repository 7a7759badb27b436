/**
 * Request headers that say what only a proxy knows: the address of the client, and the scheme, host, port and path of
 * its request. Servers believe them, so a client must not set them. `*` stands for any further words.
 */
const NAMES: readonly string[] = [
  'forwarded*',
  'x-forwarded*',
  'x-original-url',
  'x-original-uri',
  'x-original-host',
  'x-original-proto',
  'x-original-scheme',
  'x-original-port',
  'x-original-forwarded-for',
  'x-original-remote-addr',
  'x-real-ip',
  'x-real-port',
  'x-client-ip',
  'client-ip',
  'x-cluster-client-ip',
  'x-remote-ip',
  'x-remote-addr',
  'remote-addr',
  'x-originating-ip',
  'true-client-ip',
  'cf-connecting-ip*',
  'fastly-client-ip',
  'x-envoy-external-address',
  'x-proxyuser-ip',
  // Headers of hosting platforms. The npm packages request-ip and remix-utils, for example, believe some from everyone.
  'x-appengine-user-ip',
  'x-appengine-remote-addr',
  'x-azure-clientip',
  'x-azure-socketip',
  'x-nf-client-connection-ip',
  'x-sucuri-clientip',
  'x-vercel-forwarded-for',
  'ali-cdn-real-ip',
  'cf-pseudo-ipv4',
  'do-connecting-ip',
  'fly-client-ip',
  'http-x-forwarded-for',
  'incap-client-ip',
  'wl-proxy-client-ip',
  'proxy-client-ip',
  'front-end-https',
  'x-scheme',
  'x-url-scheme',
  'x-arr-ssl',
  'x-host',
  'x-http-host-override',
  'x-rewrite-url',
  // CGI programs get the header Proxy as HTTP_PROXY, the address of a proxy for their own requests (httpoxy.org).
  'proxy',
];

/** CGI and similar interfaces turn every character of a header name that is no letter and no digit into `_`. */
const ANY_SEPARATOR = '[^a-z0-9]';

/**
 * A regular expression (POSIX extended) that matches the lower-case name of such a header, in every spelling. The names
 * that begin with `x-` are one alternative, because HAProxy compares it with each header of each request.
 */
export const CLIENT_CLAIMS = pattern();

function pattern(): string {
  const extended = NAMES.filter((name) => name.startsWith('x-')).map((name) => name.slice('x-'.length));
  const others = NAMES.filter((name) => !name.startsWith('x-'));
  return `^(x${ANY_SEPARATOR}(${alternatives(extended)})|${alternatives(others)})$`;
}

function alternatives(names: readonly string[]): string {
  return names
    .map((name) => name.replaceAll('-', ANY_SEPARATOR).replace('*', `(${ANY_SEPARATOR}.*)?`))
    .join('|');
}
