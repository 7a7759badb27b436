import type { Prompt } from '@modelcontextprotocol/sdk/types.js';

export interface PromptTemplate extends Prompt {
  description: string;
  /** Returns the text for the model. `argument` returns the value of an argument, or '' if the client left it out. */
  render: (argument: (name: string) => string) => string;
}

const DOMAIN = { name: 'domain', description: 'The domain, such as shop.example.com.', required: true };

/** Each prompt lists the tools to call, the checks between the calls, and what to do if a check fails. */
export const PROMPTS: readonly PromptTemplate[] = [
  {
    name: 'add_service',
    title: 'Add a service',
    description: 'Adds a domain with one or more servers to HAProxy, checks it, and issues a certificate.',
    arguments: [
      { ...DOMAIN, description: 'The new domain, such as shop.example.com.' },
      {
        name: 'servers',
        description: 'Addresses of the servers, such as 10.0.0.1:8080, 10.0.0.2:8080.',
        required: true,
      },
    ],
    render: (
      argument,
    ) => `Add the domain ${argument('domain')} to HAProxy with these servers: ${argument('servers')}.

1. Call haproxy_list_domains with search="${argument('domain')}". If the domain exists already, show its servers and ask me before you continue.
2. Call haproxy_add_domain with the first server (ip, http_port).
3. If there are more servers, call haproxy_add_servers with them.
4. Call haproxy_wait_healthy. The status must be healthy. If it is not, tell me the reason, and what the health check of each server found, and stop. Do not remove anything.
5. Call haproxy_list_certs. If no certificate covers the domain, propose haproxy_issue_cert and ask me before you call it.
6. Summarize: domain, pool, servers with their status, certificate.`,
  },
  {
    name: 'server_maintenance',
    title: 'Take a server out for maintenance and back',
    description:
      'Drains a server, waits until it has no connections, sets it to maintenance, and enables it again afterwards.',
    arguments: [
      DOMAIN,
      {
        name: 'server',
        description: 'The address or the slot of the server, such as 10.0.0.1 or 2.',
        required: true,
      },
    ],
    render: (
      argument,
    ) => `Take the server ${argument('server')} of ${argument('domain')} out of service for maintenance. No request may fail.

1. Call haproxy_list_servers and find the slot of the server. If no other server is ready and UP, stop and tell me that the domain would have no server.
2. Call haproxy_set_server_state with state=drain. HAProxy sends no new requests to the server.
3. Call haproxy_wait_drain with timeout=300. If drained is false, show the remaining connections and ask me whether to wait longer or to continue.
4. Call haproxy_set_server_state with state=maint and tell me that the maintenance can begin. Wait until I tell you that it is finished.
5. Call haproxy_set_server_state with state=ready. Call haproxy_wait_healthy and look at the server: it must be UP. If it is DOWN or checking, set it to maint again and tell me what its health check found.`,
  },
  {
    name: 'shift_traffic',
    title: 'Shift traffic between two servers',
    description:
      'Moves the requests of a domain from one server to another in steps, and checks both servers after each step.',
    arguments: [
      DOMAIN,
      {
        name: 'from',
        description: 'Address or slot of the server that gets fewer requests.',
        required: true,
      },
      { name: 'to', description: 'Address or slot of the server that gets more requests.', required: true },
    ],
    render: (
      argument,
    ) => `Shift the requests of ${argument('domain')} from the old server ${argument('from')} to the new server ${argument('to')} in steps.

1. Call haproxy_list_servers. Find the slots and the weights of both servers, and remember the weights for a rollback. Both servers must be ready and UP.
2. Give the new server 10 %, 25 %, 50 % and then 100 % of the requests. For each step call haproxy_set_server_weight for both servers, with weights that add up to 100.
3. After each step call haproxy_stats with scope=server and this domain. Compare the errors and the response times of both servers with the step before.
4. If the new server has errors that the old server does not have, set the remembered weights again at once and tell me why.
5. At 100 % the old server has weight 0 and gets no new requests. Ask me whether to remove it (haproxy_set_server_state with state=drain, haproxy_wait_drain, haproxy_remove_server) or to keep it for a rollback.`,
  },
  {
    name: 'diagnose_domain',
    title: 'Find out why a domain is down',
    description: 'Finds the cause if a domain is not served, from the name to the servers. Changes nothing.',
    arguments: [DOMAIN],
    render: (
      argument,
    ) => `Find out why ${argument('domain')} does not work. Call only tools that read. Change nothing.

1. Call haproxy_health. Is HAProxy running, and do its state and its files agree?
2. Call haproxy_explain with the name as host. Which domain, pool, servers and certificate answer, or why does nothing answer?
3. Call haproxy_domain_health. Is the status no_servers, down, checking or degraded, and what did each health check find?
4. Call haproxy_list_servers. Are servers in maint or drain, or do they have weight 0?
5. Call haproxy_stats with scope=server and this domain. Are there errors, refused connections or slow responses?
6. Call haproxy_list_certs. Has the certificate expired, or does it not cover the name? Either breaks only HTTPS.

Answer with the cause, the evidence for it, and the one tool call that you propose. If you find no cause in HAProxy, list the causes outside HAProxy that are possible (DNS, a firewall, the application).`,
  },
  {
    name: 'rotate_certificate',
    title: 'Rotate a certificate',
    description: 'Replaces the certificate of a domain and checks that HAProxy serves the new certificate.',
    arguments: [DOMAIN],
    render: (argument) => `Replace the certificate of ${argument('domain')} with a new certificate.

1. Call haproxy_cert_info. Note the names, the issuer, the serial, the days left, and whether the suite renews the certificate (auto_renew). If the suite does not renew it, it was uploaded: ask me for the new PEM and call haproxy_load_cert.
2. Otherwise call haproxy_renew_cert with force=true. This can take several minutes. HAProxy serves the old certificate until then, and keeps it if the renewal fails. If the renewal fails, show code and detail. Try at most twice, because CAs have rate limits.
3. Call haproxy_cert_info again. The serial must have changed, and loaded must be true.
4. Summarize: old and new serial, expiry date, names.`,
  },
];
