import { isSamePath } from '../../../lib/same-path.js';
import type { Settings } from '../../../settings/settings.js';
import type { ConfigMessages } from '../config-messages.js';
import { type ConfigSection, parseConfig } from '../config-parser.js';
import { readTextIfPresent } from '../operator-config.js';
import { pathRequirements } from './path-requirements.js';
import { currentStarter, processRequirements, type Starter } from './process-requirements.js';

/**
 * Checks what `haproxy -c` does not check in haproxy.cfg: whether the control mode can run HAProxy with it, and whether
 * its paths let the suite work, together with those of suite.cfg. Reads the files as they are now.
 *
 * @param starter the rights with which the suite starts HAProxy; null if they are not known
 * @throws the error of the file system, unless a file is missing
 */
export async function checkStart(
  settings: Settings,
  starter: Starter | null = currentStarter(),
): Promise<ConfigMessages> {
  const { files } = settings;
  const sections = parseConfig(await readTextIfPresent(files.config), files.config);
  const found = processFindings(sections, settings, starter);
  const rules = parseConfig(await readTextIfPresent(files.suite), files.suite);
  found.errors.push(...pathRequirements([...rules, ...sections], (path) => isSamePath(path, files.map)));
  return found;
}

/** The part of `checkStart` about the process: with its errors HAProxy would exit. */
export function processFindings(
  sections: readonly ConfigSection[],
  { control }: Pick<Settings, 'control'>,
  starter: Starter | null = currentStarter(),
): ConfigMessages {
  return processRequirements(sections, {
    control,
    starter: control === 'managed' ? (starter ?? undefined) : undefined,
  });
}
