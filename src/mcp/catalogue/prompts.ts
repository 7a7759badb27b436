import type { Prompt } from '@modelcontextprotocol/sdk/types.js';

export interface WorkPrompt extends Prompt {
  description: string;
  /** The text for the model. `given` is an argument's value, empty where it was left out. */
  render: (given: (argument: string) => string) => string;
}

const DOMAIN = { name: 'domain', description: 'The domain, such as shop.example.com.', required: true };

/** Written as steps with the tools' names, the checks between them, and the way back when a check fails. */
export const PROMPTS: readonly WorkPrompt[] = [
  {
    name: 'add_service',
    title: 'Add a service',
    description:
      'Puts a new domain with one or more servers behind HAProxy, checks it, and gets a certificate.',
    arguments: [
      { ...DOMAIN, description: 'The new domain, such as shop.example.com.' },
      {
        name: 'servers',
        description: 'Addresses of the servers, such as 10.0.0.1:8080, 10.0.0.2:8080.',
        required: true,
      },
    ],
    render: (given) => `Put ${given('domain')} behind HAProxy with these servers: ${given('servers')}.

1. haproxy_list_domains with search="${given('domain')}": if it is there already, show what it has and ask before going on.
2. haproxy_add_domain with the first server (ip, http_port).
3. haproxy_add_servers with the others, if there are any.
4. haproxy_domain_health: every server should be UP (or "no check"). If one is DOWN, say what its check found and stop; do not remove anything.
5. haproxy_list_certs: if no certificate covers the name, propose haproxy_issue_cert and ask before calling it.
6. Sum up: domain, pool, servers with their status, certificate.`,
  },
  {
    name: 'server_maintenance',
    title: 'Take a server out for maintenance and back',
    description:
      'Drains a server, waits until it is idle, puts it into maintenance, and brings it back afterwards.',
    arguments: [
      DOMAIN,
      {
        name: 'server',
        description: 'The address or the slot of the server, such as 10.0.0.1 or 2.',
        required: true,
      },
    ],
    render: (
      given,
    ) => `Take the server ${given('server')} of ${given('domain')} out of service for maintenance, without hurting a request.

1. haproxy_list_servers: find its slot. If fewer than one other server is ready and UP, stop and say that the domain would have nobody left.
2. haproxy_set_server_state state=drain: no new requests reach it.
3. haproxy_wait_drain timeout=300. If drained is false, show the connections left and ask whether to wait longer or go on.
4. haproxy_set_server_state state=maint, and tell me that the work can begin. Wait for my word.
5. Then haproxy_set_server_state state=ready, and haproxy_domain_health until it is UP. If it stays DOWN, set it to maint again and say what its check found.`,
  },
  {
    name: 'shift_traffic',
    title: 'Shift traffic between two servers',
    description:
      'Moves the requests of a domain from one server to another in steps, looking at both in between.',
    arguments: [
      DOMAIN,
      { name: 'from', description: 'Address or slot of the server that gets less.', required: true },
      { name: 'to', description: 'Address or slot of the server that gets more.', required: true },
    ],
    render: (
      given,
    ) => `Shift the requests of ${given('domain')} from server ${given('from')} to server ${given('to')} in steps.

1. haproxy_list_servers: find both slots and their weights, and remember the weights as the way back. Both must be ready and UP.
2. Go through the shares 10 %, 25 %, 50 %, 100 % for the new one: haproxy_set_server_weight for both, with weights that add up to 100.
3. After each step haproxy_stats with scope=server and this domain: compare errors and response times of the two with the step before.
4. If the new one has errors that the old one has not, set the remembered weights again at once and say why.
5. At 100 % the old one has weight 0 and gets no new requests. Ask whether to remove it (haproxy_set_server_state drain, haproxy_wait_drain, haproxy_remove_server) or to keep it as the way back.`,
  },
  {
    name: 'diagnose_domain',
    title: 'Find out why a domain is down',
    description:
      'Looks from the name to the server for what keeps a domain from being served. Changes nothing.',
    arguments: [DOMAIN],
    render: (given) => `Find out why ${given('domain')} does not work. Change nothing; only look.

1. haproxy_health: is HAProxy itself there, and do its state and files agree?
2. haproxy_list_domains with search and include_wildcards=true: is the name routed at all, exactly or by a wildcard?
3. haproxy_domain_health: no_servers, down or degraded, and what each health check found.
4. haproxy_list_servers: servers in maint or drain, or with weight 0, that somebody left so.
5. haproxy_stats with scope=server and this domain: errors, refused connections, response times.
6. haproxy_list_certs: a certificate that has expired or does not cover the name breaks HTTPS only.

Answer with the cause, the evidence for it, and the one tool call that you propose. If it is none of these, say what is left outside HAProxy (DNS, a firewall, the application).`,
  },
  {
    name: 'rotate_certificate',
    title: 'Rotate a certificate',
    description: 'Replaces the certificate of a domain by a new one, and checks that HAProxy serves it.',
    arguments: [DOMAIN],
    render: (given) => `Replace the certificate of ${given('domain')} by a new one.

1. haproxy_cert_info: names, issuer, serial, days left, and whether the suite renews it (auto_renew). If it does not, it was uploaded: ask me for the new PEM and use haproxy_load_cert.
2. Otherwise haproxy_renew_cert with force=true. It takes up to some minutes; the old certificate is served meanwhile and stays if it fails. If it fails, show code and detail, and do not try more than twice: CAs limit how often.
3. haproxy_cert_info again: the serial must be another one, and loaded must be true.
4. Sum up: old and new serial, valid until, names.`,
  },
];
