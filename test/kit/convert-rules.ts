import { convert, type Converted } from '../../src/migration/convert.js';

export const HEAD = 'defaults\n mode http\n';
export const BACKENDS = ['a', 'b', 'c']
  .map((name, index) => `backend ${name}\n server s 192.0.2.${index + 1}:80\n`)
  .join('');

export const of = (text: string, more: Partial<Parameters<typeof convert>[0]> = {}): Converted =>
  convert({ files: [{ path: 'h.cfg', text }], ...more });

/** Converts the rules of one frontend. The backends a, b and c have the servers 192.0.2.1, .2 and .3. */
export const rules = (text: string, more: Partial<Parameters<typeof convert>[0]> = {}): Converted =>
  of(`${HEAD}frontend web\n bind :80\n${text}\n${BACKENDS}`, more);

/** Domain → backend. */
export const routes = ({ records }: Converted): Record<string, string> => {
  const found: Record<string, string> = {};
  for (const { domain, servers, share_with } of records) {
    const ip = servers?.[0]?.ip;
    found[domain] =
      ip === undefined ? (found[share_with ?? ''] ?? '') : ('abc'[Number(ip.slice(-1)) - 1] ?? ip);
  }
  return found;
};

export const missing = (converted: Converted) => converted.missing.map(({ domain }) => domain);

/** The findings as text: line, effect and domains. */
export const shown = ({ not_understood }: Converted) =>
  not_understood.map(({ line, effect, domains }) => [line, effect, domains.join(' ')].join(' ').trim());
