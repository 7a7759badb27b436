import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../../../lib/atomic-file.js';
import type { Settings } from '../../../settings/settings.js';
import { parseConfig } from '../config-parser.js';
import type { ConfigMessage } from '../config-messages.js';
import { nodeId } from './node-id.js';
import { readTextIfPresent } from '../operator-config.js';
import { type IncludedFile, INCLUDED_FROM, renderSuiteCfg, type SuiteCfg } from './suite-cfg.template.js';

/** The suite.cfg that belongs to the settings and to the operator's files as they are now. */
export interface RenderedSuiteCfg extends SuiteCfg {
  /** Lines of the operator's files that cannot be part of suite.cfg. */
  errors: ConfigMessage[];
}

/** Reads before.rules and before.global, and renders suite.cfg. @throws the error of the file system */
export async function renderSuiteFile(settings: Settings): Promise<RenderedSuiteCfg> {
  const [id, beforeRules, beforeGlobal] = await Promise.all([
    nodeId(settings),
    readIncluded(settings.files.beforeRules),
    readIncluded(settings.files.beforeGlobal),
  ]);
  const errors = [beforeRules, beforeGlobal].flatMap((file) => sectionErrors(file));
  return { ...renderSuiteCfg(settings, { nodeId: id, beforeRules, beforeGlobal }), errors };
}

/**
 * Creates the maps of the site options that do not exist, because HAProxy does not start without a map that its rules name.
 * Call it before HAProxy reads a suite.cfg. (`opt@`, which makes a map optional, is no help: HAProxy 3.0 then loads the
 * map once for each rule, and a change at run time reaches only one of them.)
 *
 * @throws the error of the file system
 */
export async function createMissingSiteMaps({ files }: Pick<Settings, 'files'>): Promise<void> {
  for (const path of Object.values(files.sites)) {
    if (existsSync(path)) continue;
    await mkdir(dirname(path), { recursive: true });
    await writeFileAtomic(path, '');
  }
}

async function readIncluded(path: string): Promise<IncludedFile> {
  return { path, text: await readTextIfPresent(path) };
}

/** A line that begins a section would end the section of suite.cfg, and the rules after it would be lost. */
function sectionErrors({ path, text }: IncludedFile): ConfigMessage[] {
  return parseConfig(text, path).map(({ keyword, line }) => ({
    file: path,
    line,
    message: `a section such as '${keyword}' cannot begin here. This file holds only lines for a section of suite.cfg; put sections into haproxy.cfg.`,
  }));
}

/**
 * Replaces the place of each message about `checked`, the file that HAProxy read as suite.cfg, with the line of
 * before.rules or before.global that it comes from, or with the path of suite.cfg. Pure.
 */
export function toOperatorLines(
  messages: readonly ConfigMessage[],
  checked: string,
  text: string,
  suiteFile: string,
): ConfigMessage[] {
  const lines = text.split('\n');
  return messages.map(({ file, line, message }) => {
    const renamed = message.replaceAll(checked, suiteFile);
    if (file !== checked) return { file, line, message: renamed };
    const from = INCLUDED_FROM.exec(lines[(line ?? 0) - 2] ?? '')?.groups;
    return from
      ? { file: from['path'] ?? null, line: Number(from['line']), message: renamed }
      : { file: suiteFile, line, message: renamed };
  });
}
