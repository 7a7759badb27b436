/**
 * The fields of a record that this version of the suite carries out. The readers of all fields are there: to switch a field on, set it to true
 * here. `POST /import` must accept the field, and HAProxy must get it.
 */
export interface CarriedFields {
  /** `options` of a pool. */
  balance: boolean;
  check: boolean;
  sticky: boolean;
  max_connections: boolean;
  timeouts: boolean;
  retries: boolean;
  /** `site` of a host. */
  https: boolean;
  redirect: boolean;
}

export type CarriedField = keyof CarriedFields;

export const CARRIED: CarriedFields = {
  balance: false,
  check: false,
  sticky: false,
  max_connections: false,
  timeouts: false,
  retries: false,
  https: false,
  redirect: false,
};

/** What to do about a field that is not carried. */
export const SET_WITH: Readonly<Record<CarriedField, string>> = {
  balance: 'Set it with balance in `defaults pools` of haproxy.cfg, which holds for all pools.',
  check:
    'Set it with option httpchk and default-server in `defaults pools` of haproxy.cfg, which holds for all pools.',
  sticky: 'Keep this site in haproxy.cfg if its visitors must stay with one server.',
  max_connections:
    'Set it with default-server maxconn in `defaults pools` of haproxy.cfg, which holds for all pools.',
  timeouts: 'Set it in `defaults pools` of haproxy.cfg, which holds for all pools.',
  retries: 'Set it in `defaults pools` of haproxy.cfg, which holds for all pools.',
  https: 'Add the redirect to the frontend of haproxy.cfg (docs/operations.md, "Redirect").',
  redirect: 'Add the redirect to the frontend of haproxy.cfg (docs/operations.md, "Redirect").',
};
