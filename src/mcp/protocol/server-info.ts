import { VERSION } from '../../lib/version.js';

export const SERVER_INFO = { name: 'haproxy-suite', title: 'HAProxy Suite', version: VERSION };

/**
 * Capabilities in every protocol revision. `listChanged` is not set, because the lists of tools, resources and prompts
 * do not change while the suite runs.
 */
export const CAPABILITIES = {
  tools: {},
  resources: { subscribe: true },
  prompts: {},
  completions: {},
  logging: {},
};

export const INSTRUCTIONS =
  'Controls a running HAProxy. A domain (Host header) is routed to a pool, and a pool holds servers in numbered slots. ' +
  'Changes take effect at once without a reload, and they survive restarts. Start with haproxy_list_domains. To add a ' +
  'domain with its servers, or to make it as given, call haproxy_put_domain. Before you remove a busy server, set its state to drain ' +
  'and call haproxy_wait_drain. The detail of an error says what to do next.';
