import type { HostCertificateDto } from '../certificates/host-certificate.dto.js';
import { domainOfMapKey } from '../model/names/domain-name.js';
import type { LiveSite, LiveSiteDetails } from '../haproxy/runtime/live-site.js';
import type { FrontendStatus } from '../haproxy/runtime/frontend-status.js';
import { unpublishedReason } from '../haproxy/runtime/server-status.js';
import type { MatchedDomain } from '../model/names/domain-match.js';
import type {
  ExplainAnswerDto,
  ExplainedServerDto,
  ExplainResultDto,
  ExplainStepDto,
} from './explain.dto.js';
import type { RoutingConfig } from './routing-config.js';
import { siteAnswer } from './site-answer.js';

/** What the answer is derived from. Everything about the routing was read from HAProxy. */
export interface ExplainFacts {
  /** The Host header, and the host that HAProxy computes from it. */
  header: string;
  host: string;
  path: string;
  ip: string | undefined;
  /** The entry of domains.map that HAProxy finds: its key and the name of a backend. */
  entry: { key: string; pool: string } | undefined;
  /** The options of the site that matched. */
  site: (LiveSite & LiveSiteDetails) | undefined;
  /** What the saved state has for this host. */
  saved: MatchedDomain | undefined;
  /** Whether visitors can connect to HAProxy. */
  frontends: FrontendStatus;
  /** Whether HAProxy has the backend of the entry. */
  hasBackend: boolean;
  /** Whether HAProxy routes no request to this backend (3.4). */
  unpublished: boolean;
  servers: ExplainedServerDto[];
  config: RoutingConfig;
  /** Whether this is the host that publishes the suite itself (MCP_PUBLIC_HOST), and HAProxy has a backend for it. */
  isPublicHost: boolean;
  certificate?: HostCertificateDto;
  /** Why the certificate, or what visitors get, is not known. */
  certificate_problem?: string;
  /** The caller is limited to some domains, so `certificate` cannot be one that has other names too. */
  isLimited: boolean;
}

/** Follows a request through the rules, in the order in which HAProxy evaluates them. Pure. */
export function explain(facts: ExplainFacts): ExplainResultDto {
  const { host, entry, isPublicHost } = facts;
  const steps = [...frontendSteps(facts), hostStep(facts), ...clientSteps(facts)];
  const answer = answerOf(facts, steps);
  steps.push(certificateStep(facts));
  return {
    host,
    ...(entry && !isPublicHost && { domain: domainOfMapKey(entry.key), pool: entry.pool }),
    servers: facts.servers,
    ...(facts.certificate && { certificate: facts.certificate }),
    ...(facts.certificate_problem !== undefined && { certificate_problem: facts.certificate_problem }),
    answer,
    steps,
  };
}

function answerOf(facts: ExplainFacts, steps: ExplainStepDto[]): ExplainAnswerDto {
  const answer = facts.isPublicHost ? publicAnswer(facts, steps) : domainAnswer(facts, steps);
  switch (facts.frontends.visitors) {
    case 'closed':
      return { reason: 'HAProxy accepts no connection, so visitors get no answer.' };
    case 'waits':
      return { ...answer, reason: `Visitors wait until a connection is free. Then: ${answer.reason}` };
    default:
      return answer;
  }
}

function frontendSteps({ frontends: { problems, visitors } }: ExplainFacts): ExplainStepDto[] {
  return problems.map((text) => (visitors === 'open' ? info('frontend', text) : problem('frontend', text)));
}

function hostStep({ header, host }: ExplainFacts): ExplainStepDto {
  if (header.includes('[') || (header.match(/:/g)?.length ?? 0) > 1)
    return problem(
      'host',
      `HAProxy cuts an IPv6 address at its first colon, so no domain matches: "${host}".`,
    );
  return ok(
    'host',
    header === host ? `The host is ${host}.` : `HAProxy reads the host "${header}" as "${host}".`,
  );
}

function clientSteps({ ip, site }: ExplainFacts): ExplainStepDto[] {
  return ip === undefined || site
    ? []
    : [info('client', `No option of the site depends on the address of the visitor (${ip}).`)];
}

/** Only the path /mcp is published under MCP_PUBLIC_HOST. */
function publicAnswer({ host, path, config }: ExplainFacts, steps: ExplainStepDto[]): ExplainAnswerDto {
  steps.push(ok('public host', `${host} is MCP_PUBLIC_HOST, so HAProxy does not look it up in domains.map.`));
  if (path.split('?', 1)[0] !== '/mcp')
    return { status: 404, reason: 'Under MCP_PUBLIC_HOST only the path /mcp is served.' };
  const http = config.hasTls ? ' HAProxy answers plain http with 403.' : '';
  return { reason: `The suite itself answers; it asks for a token.${http}` };
}

function domainAnswer(facts: ExplainFacts, steps: ExplainStepDto[]): ExplainAnswerDto {
  const { host, entry, saved, servers, config, hasBackend, unpublished } = facts;
  if (!entry) {
    const difference = saved
      ? `The saved state has ${saved.matched} (${saved.pool}), but HAProxy does not: use {haproxy_restore_state}.`
      : 'Add the domain with {haproxy_add_domain}.';
    steps.push(
      problem('domain', `domains.map in HAProxy has neither ${host} nor a wildcard for it. ${difference}`),
    );
    return defaultAnswer(config, `No domain matches ${host}.`, steps);
  }
  const domain = domainOfMapKey(entry.key);
  const found = `domains.map in HAProxy: ${domain} → ${entry.pool}.`;
  steps.push(
    saved?.matched === domain && saved.pool === entry.pool
      ? ok('domain', found)
      : info(
          'domain',
          `${found} The saved state has ${saved ? `${saved.matched} → ${saved.pool}` : 'no such domain'}.`,
        ),
  );
  const { answer, steps: siteSteps } = siteAnswer(facts.site, { domain, ip: facts.ip });
  steps.push(...siteSteps);
  if (answer) return answer;
  if (!hasBackend) {
    steps.push(
      problem(
        'pool',
        `HAProxy has no backend ${entry.pool}: use {haproxy_restore_state} or {haproxy_reload}.`,
      ),
    );
    return defaultAnswer(config, `HAProxy has no backend ${entry.pool}.`, steps);
  }
  if (unpublished) {
    steps.push(problem('pool', unpublishedReason(entry.pool)));
    return defaultAnswer(config, `HAProxy routes no request to ${entry.pool}.`, steps);
  }
  steps.push(ok('pool', `HAProxy has the backend ${entry.pool} with ${servers.length} server(s).`));
  return poolAnswer(entry.pool, servers, steps);
}

function poolAnswer(
  pool: string,
  servers: readonly ExplainedServerDto[],
  steps: ExplainStepDto[],
): ExplainAnswerDto {
  if (servers.length === 0) {
    steps.push(problem('servers', `${pool} has no server. Add one with {haproxy_add_server}.`));
    return { status: 503, reason: `${pool} has no server.` };
  }
  const listed = servers.map(({ name, status, weight }) => `${name} ${status}, weight ${weight}`).join('; ');
  const used = servers.filter((server) => server.used);
  if (used.length === 0) {
    steps.push(problem('servers', `HAProxy uses none of them: ${listed}.`));
    return { status: 503, reason: `No server of ${pool} can get requests.` };
  }
  const passed = used.filter(({ status }) => status === 'UP').length;
  if (passed > 0) {
    steps.push(ok('servers', `HAProxy uses ${used.length} of ${servers.length}: ${listed}.`));
    return { reason: `A server of ${pool} answers.` };
  }
  steps.push(info('servers', `HAProxy uses ${used.length}, but no health check has passed: ${listed}.`));
  return { reason: `HAProxy sends the request to a server of ${pool}, which has not passed a health check.` };
}

/** HAProxy uses the default backend if no entry matches, and also if it does not have the backend of the entry. */
function defaultAnswer(
  { defaultBackend, defaultStatus }: RoutingConfig,
  reason: string,
  steps: ExplainStepDto[],
): ExplainAnswerDto {
  if (defaultBackend === undefined) {
    steps.push(info('default_backend', 'The configuration has no default_backend, so HAProxy answers 503.'));
    return { status: 503, reason };
  }
  if (defaultStatus === undefined) {
    steps.push(
      info('default_backend', `The configuration sends the request to the backend ${defaultBackend}.`),
    );
    return { reason: `${reason} The default backend ${defaultBackend} answers.` };
  }
  steps.push(info('default_backend', `The backend ${defaultBackend} returns ${defaultStatus}.`));
  return { status: defaultStatus, reason };
}

function certificateStep(facts: ExplainFacts): ExplainStepDto {
  const { host, config, certificate, certificate_problem: unknown } = facts;
  if (!config.hasTls) return info('certificate', 'HAProxy has no TLS bind, so it serves only http.');
  if (!certificate && unknown !== undefined)
    return problem('certificate', `Whether a certificate has the name ${host} is not known. ${unknown}`);
  if (!certificate && facts.isLimited)
    return info('certificate', 'No certificate of the domains of this token has the name; another may.');
  if (!certificate) {
    const served = config.strictSni
      ? 'the TLS handshake fails (strict-sni)'
      : 'visitors get another certificate';
    return problem(
      'certificate',
      `No certificate has the name ${host}, so ${served}. Issue one with {haproxy_issue_cert}, or load one with {haproxy_load_cert}.`,
    );
  }
  const { domain, not_after, loaded, found_by } = certificate;
  const how = found_by === 'files' ? ' (from the files; no handshake could be made)' : '';
  if (loaded === false)
    return problem(
      'certificate',
      `The certificate ${domain} has the name, but visitors do not get it: use {haproxy_load_cert}.`,
    );
  if (Date.parse(not_after) < Date.now())
    return problem(
      'certificate',
      `The certificate ${domain} expired at ${not_after}${how}: use {haproxy_renew_cert}.`,
    );
  return ok('certificate', `The certificate ${domain} has the name and is valid until ${not_after}${how}.`);
}

function ok(rule: string, detail: string): ExplainStepDto {
  return { rule, outcome: 'ok', detail };
}

function info(rule: string, detail: string): ExplainStepDto {
  return { rule, outcome: 'info', detail };
}

function problem(rule: string, detail: string): ExplainStepDto {
  return { rule, outcome: 'problem', detail };
}
