import type { RenamedDomainDto } from './domains.dto.js';

/** The files of the certificate folder that have each name; undefined if the folder could not be read. */
export interface CertificateFiles {
  former: readonly string[];
  renamed: readonly string[];
}

/** What a rename means for https. A certificate is for a name, and stays with it. Pure. */
export function renamedCertificate(
  domain: string,
  to: string,
  files: CertificateFiles | undefined,
): RenamedDomainDto['certificate'] {
  if (!files)
    return {
      former_name: [],
      new_name: [],
      detail:
        'The certificate folder could not be read. {haproxy_explain} shows which certificate visitors get.',
    };
  const { former, renamed } = files;
  const next =
    renamed.length > 0
      ? `${renamed.join(', ')} has ${to} already; {haproxy_explain} shows whether visitors get it.`
      : `No certificate file has ${to}. For https, issue one with {haproxy_issue_cert} or load your own with {haproxy_load_cert}.`;
  const stays = former.filter((path) => !renamed.includes(path));
  const kept =
    stays.length > 0
      ? ` ${stays.join(', ')} is for ${domain} and stays; delete it with {haproxy_delete_cert} if nothing else needs it.`
      : '';
  return { former_name: [...former], new_name: [...renamed], detail: next + kept };
}
