import type { MapFile } from './map-file.js';
import type { Host, Value } from './values.js';

/** The variables of a request, by name. */
export interface Variables {
  get: (name: string) => Value;
}

type Step = (value: { text: string } | { suffix: string }) => Value;

/** An expression that depends only on the Host header, such as `req.hdr(host),lower,map(/etc/hosts.map)`. */
export interface HostExpression {
  /** The variable that it begins with; undefined for the Host header itself. */
  readonly variable: string | undefined;
  readonly steps: readonly Step[];
  /** The map that it ends with. */
  readonly map: MapFile | undefined;
  /** What the map gives for every other host. */
  readonly fallback: string | undefined;
  /** Whether it gives the Host header unchanged for a name in lower case without a port. */
  readonly isHost: boolean;
}

type Maps = (path: string, kind: string) => MapFile | undefined;

const FETCH = /^(?:req\.f?)?hdr\(\s*[Hh][Oo][Ss][Tt]\s*(?:,\s*-?1\s*)?\)$/;
const VARIABLE = /^var\(\s*((?:proc|sess|txn|req)\.[A-Za-z0-9_.]+)\s*\)$/;
const MAP = /^map(?:_(str|beg|sub|dir|dom|end|reg))?(?:_str)?\((.*)\)$/;

/** Undefined for an expression that depends on anything else. */
export function parseHostExpression(text: string, maps: Maps): HostExpression | undefined {
  const [fetch = '', ...converters] = splitArguments(text);
  const variable = VARIABLE.exec(fetch)?.[1];
  if (variable === undefined && !FETCH.test(fetch)) return undefined;
  const steps: Step[] = [];
  let map: MapFile | undefined;
  let fallback: string | undefined;
  for (const converter of converters) {
    if (map) return undefined;
    const [, kind = 'str', args] = MAP.exec(converter) ?? [];
    if (args !== undefined) {
      const [path = '', ...rest] = splitArguments(args);
      map = maps(path, kind);
      if (!map) return undefined;
      fallback = rest.length > 0 ? rest.join(',') : undefined;
      const [found, other] = [map, fallback];
      steps.push((value) => {
        const result = found.lookUp(value);
        return result === 'absent' && other !== undefined ? { text: other } : result;
      });
      continue;
    }
    const name = converter.replaceAll(/\s/g, '');
    const step = Object.hasOwn(STEPS, name) ? STEPS[name] : undefined;
    if (!step) return undefined;
    steps.push(step);
  }
  return {
    variable,
    steps,
    map,
    fallback,
    isHost: variable === undefined && !map && !converters.includes('upper'),
  };
}

/** The value for a host. A name of a wildcard has no port and no capital letters, so most steps keep it. */
export function evaluate(expression: HostExpression, host: Host, variables: Variables): Value {
  let value: Value = expression.variable === undefined ? { ...host } : variables.get(expression.variable);
  for (const step of expression.steps) {
    if (value === 'absent' || value === 'unknown') return value;
    value = step(value);
  }
  return value;
}

/** A step that does not change a name without a port. */
const onText =
  (change: (text: string) => string): Step =>
  (value) =>
    'text' in value ? { text: change(value.text) } : value;

const withoutPort = onText((text) => text.split(':', 1)[0] ?? '');

/** Without spaces. */
const STEPS: Readonly<Record<string, Step>> = {
  lower: onText((text) => text.toLowerCase()),
  upper: (value) => ('text' in value ? { text: value.text.toUpperCase() } : 'unknown'),
  'field(1,:)': withoutPort,
  "field(1,':')": withoutPort,
  'word(1,:)': withoutPort,
  "word(1,':')": withoutPort,
  host_only: withoutPort,
  'rtrim(.)': onText(withoutDots),
};

function withoutDots(text: string): string {
  let end = text.length;
  while (text.charAt(end - 1) === '.') end -= 1;
  return text.slice(0, end);
}

/** Splits at the commas outside parentheses. */
export function splitArguments(text: string): string[] {
  const parts: string[] = [];
  let [depth, start] = [0, 0];
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === '(') depth += 1;
    else if (char === ')') depth -= 1;
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(start, at).trim());
      start = at + 1;
    }
  }
  parts.push(text.slice(start).trim());
  return parts;
}
