import type { Toolset } from '../../contract/toolsets.js';

const TOOLSET_MEMBERS: Readonly<Record<Toolset, readonly string[]>> = {
  domains: [
    'haproxy_list_domains',
    'haproxy_get_domain',
    'haproxy_add_domain',
    'haproxy_put_domain',
    'haproxy_rename_domain',
    'haproxy_remove_domain',
    'haproxy_set_site',
  ],
  servers: [
    'haproxy_list_servers',
    'haproxy_add_server',
    'haproxy_add_servers',
    'haproxy_remove_server',
    'haproxy_set_server_state',
    'haproxy_set_server_weight',
    'haproxy_set_domain_state',
    'haproxy_wait_drain',
    'haproxy_replace_server',
  ],
  health: [
    'haproxy_health',
    'haproxy_domain_health',
    'haproxy_wait_healthy',
    'haproxy_explain',
    'haproxy_get_server_health',
  ],
  monitoring: ['haproxy_stats', 'haproxy_backends', 'haproxy_list_frontends', 'haproxy_get_connections'],
  configuration: [
    'haproxy_check_config',
    'haproxy_reload',
    'haproxy_save_state',
    'haproxy_restore_state',
    'haproxy_set_pool_options',
    'haproxy_list_operations',
  ],
  history: ['haproxy_history', 'haproxy_undo', 'haproxy_rollback', 'haproxy_audit'],
  certificates: [
    'haproxy_list_certs',
    'haproxy_cert_info',
    'haproxy_issue_cert',
    'haproxy_renew_cert',
    'haproxy_renew_all_certs',
    'haproxy_delete_cert',
    'haproxy_load_cert',
  ],
};

/** Tools of common tasks come first, because models read the list from the top. */
const ORDER = Object.values(TOOLSET_MEMBERS).flat();

/** Compares by the order of the toolsets. Tools in no toolset follow alphabetically. */
export function compareToolNames(a: string, b: string): number {
  return rank(a) - rank(b) || (a < b ? -1 : Number(a > b));
}

/** Also true for a tool in no toolset, because no setting could enable it. */
export function isInToolsets(name: string, enabled: readonly Toolset[]): boolean {
  return !ORDER.includes(name) || enabled.some((toolset) => TOOLSET_MEMBERS[toolset].includes(name));
}

function rank(name: string): number {
  const index = ORDER.indexOf(name);
  return index === -1 ? ORDER.length : index;
}
