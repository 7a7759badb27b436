import type { RulesReport } from '../haproxy/config/suite/suite-rules.service.js';
import type { FilesComponentDto } from './health.dto.js';

/**
 * Adds suite.cfg to the health of the files. A suite.cfg that is not loaded or not up to date is degraded. Edits that
 * the operator has not made are named only: HAProxy works without the rules, as it did before. Pure.
 */
export function withRules(files: FilesComponentDto, rules: RulesReport | string): FilesComponentDto {
  if (typeof rules === 'string')
    return {
      ...files,
      status: 'degraded',
      detail: `${files.detail} The suite cannot check suite.cfg: ${rules}`,
    };
  const { file, status, problems, edits } = rules;
  return {
    status: problems.length > 0 ? 'degraded' : files.status,
    detail: [files.detail, ...problems, ...edits].join(' '),
    files: [...files.files, { file, status }],
  };
}
