import type { LiveSite, LiveSiteDetails } from '../haproxy/runtime/live-site.js';
import { domainOfMapKey } from '../model/names/domain-name.js';
import type { OwnedOption } from '../model/sites/site-options.js';
import type { ExplainAnswerDto, ExplainStepDto } from './explain.dto.js';

type Site = LiveSite & LiveSiteDetails;

/**
 * What the options of a site answer, with the steps up to there, in the order of suite.cfg. No answer if the request goes on
 * to the pool. Pure.
 */
export function siteAnswer(
  site: Site | undefined,
  { domain, ip }: { domain: string; ip: string | undefined },
): { answer?: ExplainAnswerDto; steps: ExplainStepDto[] } {
  if (!site) return { steps: [] };
  const { words, networks, redirect } = site;
  const steps: ExplainStepDto[] = [];
  const step = (outcome: ExplainStepDto['outcome'], detail: string) =>
    void steps.push({ rule: 'site', outcome, detail });
  const of = (option: OwnedOption): string => {
    const owner = domainOfMapKey(site.owners[option] ?? domain);
    return owner === domain ? option : `${option} of ${owner}`;
  };
  const ends = (status: number, reason: string) => {
    step('problem', reason);
    return { answer: { status, reason }, steps };
  };
  if (words.has('deny')) {
    if (networks?.deny) return ends(403, `${of('deny')} has the address ${ip}.`);
    step(
      'info',
      networks
        ? `${of('deny')} does not have ${ip}.`
        : `${of('deny')}: some addresses get 403. Give ip to know.`,
    );
  }
  if (words.has('allow')) {
    if (networks && !networks.allow) return ends(403, `${of('allow')} does not have the address ${ip}.`);
    step(
      'info',
      networks ? `${of('allow')} has ${ip}.` : `${of('allow')}: other addresses get 403. Give ip to know.`,
    );
  }
  if (redirect) {
    const reason = `The option redirect sends visitors to ${redirect.to}, with the path and query of the request.`;
    step('info', reason);
    return { answer: { status: redirect.code, reason }, steps };
  }
  if (words.has('https')) step('info', 'A request over plain http gets 308 to https (option https).');
  if (words.has('maintenance')) {
    if (!words.has('except') || networks?.except === false)
      return ends(503, `The site is closed (${of('maintenance')}).`);
    step(
      'info',
      networks
        ? `${of('maintenance')} lets ${ip} in.`
        : `${of('maintenance')}: all addresses outside of except get 503. Give ip to know.`,
    );
  }
  if (site.limit)
    step(
      'info',
      `A client gets 429 after ${site.limit.requests} requests in ${site.limit.seconds} s (rate_limit); HAProxy counts for each node.`,
    );
  return { steps };
}
