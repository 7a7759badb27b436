import { isIP, isIPv4 } from 'node:net';

/** The first invalid value in a JSON value: its keys from the root, and what is wrong. */
export interface JsonProblem {
  path: readonly (string | number)[];
  reason: string;
}

/** Checks a JSON value. Undefined if the value is valid. */
export type JsonRule = (value: unknown, path: JsonProblem['path']) => JsonProblem | undefined;

/** An object with these keys and no other. All keys are optional, except those in `required`. */
export function objectRule(
  rules: Readonly<Record<string, JsonRule>>,
  required: readonly string[] = [],
): JsonRule {
  return (value, path) => {
    if (!isObject(value)) return problem(path, 'must be an object');
    for (const [key, item] of Object.entries(value)) {
      const rule = Object.hasOwn(rules, key) ? rules[key] : undefined;
      if (!rule)
        return problem([...path, key], `is not a known key; the keys are ${Object.keys(rules).join(', ')}`);
      const found = rule(item, [...path, key]);
      if (found) return found;
    }
    const missing = required.find((key) => !Object.hasOwn(value, key));
    return missing === undefined ? undefined : problem(path, `has no key ${JSON.stringify(missing)}`);
  };
}

/**
 * An object of any keys that match `key`, except names such as `constructor` that every object inherits: a request cannot
 * have them (contract/input/input-shape.ts). Each value must follow the rule.
 */
export function recordRule(key: RegExp, item: JsonRule): JsonRule {
  return (value, path) => {
    if (!isObject(value)) return problem(path, 'must be an object');
    for (const [name, one] of Object.entries(value)) {
      if (!key.test(name)) return problem([...path, name], `must be a name that matches ${key.source}`);
      if (name in Object.prototype) return problem([...path, name], 'is not allowed as a name here');
      const found = item(one, [...path, name]);
      if (found) return found;
    }
    return undefined;
  };
}

export function listRule(item: JsonRule): JsonRule {
  return (value, path) => {
    if (!Array.isArray(value)) return problem(path, 'must be a list');
    for (const [index, one] of value.entries()) {
      const found = item(one, [...path, index]);
      if (found) return found;
    }
    return undefined;
  };
}

export function integerRule(min: number, max: number): JsonRule {
  return (value, path) =>
    Number.isSafeInteger(value) && Number(value) >= min && Number(value) <= max
      ? undefined
      : problem(path, `must be a whole number from ${min} to ${max}`);
}

export function oneOfRule(...allowed: readonly (string | number)[]): JsonRule {
  return (value, path) =>
    allowed.includes(value as string | number)
      ? undefined
      : problem(path, `must be one of ${allowed.join(', ')}`);
}

/** `what` names the allowed values, as text after "must be". */
export function textRule(pattern: RegExp, what: string): JsonRule {
  return (value, path) =>
    typeof value === 'string' && pattern.test(value) ? undefined : problem(path, `must be ${what}`);
}

export const booleanRule: JsonRule = (value, path) =>
  typeof value === 'boolean' ? undefined : problem(path, 'must be true or false');

/** A network (CIDR) or a single address. */
export const networkRule: JsonRule = (value, path) => {
  const [address = '', prefix, more] = typeof value === 'string' ? value.split('/') : [];
  const bits = isIPv4(address) ? 32 : 128;
  const isValid =
    isIP(address) !== 0 &&
    !address.includes('%') &&
    more === undefined &&
    (prefix === undefined || (/^(?:0|[1-9]\d{0,2})$/.test(prefix) && Number(prefix) <= bits));
  return isValid ? undefined : problem(path, 'must be a network such as 10.0.0.0/8 or 2001:db8::/32');
};

function problem(path: JsonProblem['path'], reason: string): JsonProblem {
  return { path, reason };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
