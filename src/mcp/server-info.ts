import { VERSION } from '../lib/version.js';

export const SERVER_INFO = { name: 'haproxy-suite', title: 'HAProxy Suite', version: VERSION };

/** What both eras offer. The lists themselves do not change while the suite runs, so nothing is told about them. */
export const CAPABILITIES = {
  tools: {},
  resources: { subscribe: true },
  prompts: {},
  completions: {},
  logging: {},
};

export const INSTRUCTIONS =
  'Controls a running HAProxy: a domain (Host header) is routed to a pool, a pool holds servers in numbered slots. ' +
  'Changes are live at once, without a reload, and survive restarts. Start with haproxy_list_domains; add with ' +
  'haproxy_add_domain, then haproxy_add_server. Before removing a busy server set its state to drain and call ' +
  'haproxy_wait_drain. An error says what to do next in its detail.';
