/** What a caller may do, the least first: read; also change domains, servers and certificates; also everything else. */
export const ROLES = ['read', 'operate', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** Whether a caller with the role `has` may use what needs `needed`. */
export function includesRole(has: Role, needed: Role): boolean {
  return ROLES.indexOf(has) >= ROLES.indexOf(needed);
}
