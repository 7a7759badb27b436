import type { Type as Class } from '@nestjs/common';
import { getMetadataStorage } from 'class-validator';

const storage = getMetadataStorage();
const search = storage.getTargetValidationMetadatas.bind(storage);
type Rules = ReturnType<typeof search>;

const rulesByClass = new WeakMap<object, Rules>();

/**
 * For each object that it validates, class-validator looks through the rules of every class there is. The rules of a
 * class are complete once it is declared, so that they are looked for once. Rules in groups, which we have none of,
 * are left to class-validator.
 */
storage.getTargetValidationMetadatas = (type, schema, always, strictGroups, groups) => {
  if (schema || always || strictGroups || (groups && groups.length > 0))
    return search(type, schema, always, strictGroups, groups);
  return rulesOf(type as Class);
};

/** The validation rules of a class, inherited ones included. */
export function rulesOf(type: Class): Rules {
  const known = rulesByClass.get(type);
  if (known) return known;
  const rules = search(type, '', false, false);
  rulesByClass.set(type, rules);
  return rules;
}
