import type { Settings } from '../../../settings/settings.js';
import type { ConfigMessage } from '../config-messages.js';
import type { ConfigSection } from '../config-parser.js';

export interface RulesFacts {
  files: Pick<Settings['files'], 'suite' | 'config' | 'map'>;
  control: Settings['control'];
  /** True if the running HAProxy was started without suite.cfg, and a reload cannot add it. */
  lacksFile: boolean;
}

const RULES = 'suite_web';

/**
 * What an operator must edit so that the frontends have the rules of suite.cfg, and sections that use these rules where
 * HAProxy ignores or refuses them. Pure.
 */
export function rulesWarnings(
  sections: readonly ConfigSection[],
  { files, control, lacksFile }: RulesFacts,
): ConfigMessage[] {
  const warnings = sections.flatMap((section) => sectionWarnings(section, sections, files));
  if (lacksFile) warnings.push({ file: null, line: null, message: startFileMessage(files, control) });
  return warnings;
}

function sectionWarnings(
  section: ConfigSection,
  sections: readonly ConfigSection[],
  files: RulesFacts['files'],
): ConfigMessage[] {
  const { keyword, name, from, file, line } = section;
  const warn = (message: string): ConfigMessage[] => [{ file, line, message }];
  const isTcp = modeOf(section, sections) === 'tcp';
  if (keyword === 'listen' && from === RULES)
    return warn(
      `HAProxy refuses 'listen ${name} from ${RULES}', because a section with rules cannot be used by a backend. Split it into a frontend and a backend.`,
    );
  if (keyword !== 'frontend' && keyword !== 'listen') return [];
  if (from === RULES && isTcp)
    return warn(
      `frontend ${name} is in TCP mode, so HAProxy ignores the rules of ${RULES} in it. Remove 'mode tcp' or 'from ${RULES}'.`,
    );
  if (from === RULES || isTcp || !routesByMap(section, files.map)) return [];
  return warn(
    `${keyword} ${name} routes by the domains of the suite, but does not use its rules: forwarding headers that a client sends reach the servers, and loops are not ended. ` +
      (keyword === 'frontend'
        ? `Change the line to 'frontend ${name} from ${RULES}' (docs/upgrade.md).`
        : `Split it into a frontend with 'from ${RULES}' and a backend (docs/upgrade.md).`),
  );
}

function routesByMap({ lines }: ConfigSection, map: string): boolean {
  return lines.some(
    ({ words }) =>
      (words[0] === 'use_backend' && words[1]?.includes('var(txn.pool)')) ||
      words.some((word) => word.includes('map') && word.includes(`(${map}`)),
  );
}

/** The mode of a section: its own, or the one of its `defaults` section. */
function modeOf(section: ConfigSection, sections: readonly ConfigSection[]): string {
  const own = section.lines.find(({ words }) => words[0] === 'mode')?.words[1];
  if (own !== undefined) return own;
  // HAProxy checks that a section is never its own ancestor, but this text may not have been checked.
  const before = sections.slice(0, sections.indexOf(section));
  const parent =
    section.from === undefined
      ? section.keyword === 'defaults'
        ? undefined
        : before.findLast(({ keyword }) => keyword === 'defaults')
      : before.findLast(({ keyword, name }) => keyword === 'defaults' && name === section.from);
  if (parent) return modeOf(parent, sections);
  return section.from?.startsWith('suite_') ? 'http' : 'tcp';
}

function startFileMessage({ suite, config }: RulesFacts['files'], control: Settings['control']): string {
  const place: Record<Settings['control'], string> = {
    managed: 'its command line',
    master: 'the command line of HAProxy (ExecStart= and ExecReload= of its unit)',
    systemd: 'ExecStart=, ExecStartPre= and ExecReload= of haproxy.service',
    podman: 'Exec= of haproxy.container',
  };
  return (
    `HAProxy was started without ${suite}, so it does not have the rules of the suite. Put '-f ${suite}' before ` +
    `'-f ${config}' in ${place[control]}, and restart HAProxy (docs/upgrade.md).`
  );
}
