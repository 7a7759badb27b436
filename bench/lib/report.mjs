import { cpus, release, totalmem } from 'node:os';

/**
 * A result is `{ scenario, haproxy, unit, value }`, with `p95` and `p99` where `value` is a median; `floor`, what it is
 * measured against in the same run (`against` names it where it is not the bare cost); `also`, further references by
 * name; and a `target`. Instead of a value it may have `skipped`: why there is none.
 */
export function judged(result) {
  if (result.skipped !== undefined || result.value === undefined) return result;
  const ratio = result.ratio ?? (result.floor === undefined ? undefined : result.value / result.floor);
  return { ...result, ratio, met: result.target === undefined ? undefined : isMet(result, ratio) };
}

/** A target is a limit for the ratio, or for the figure itself; those that say `least` are limits from below. */
function isMet({ target, value }, ratio) {
  if (target.ratio !== undefined) return ratio <= target.ratio;
  if (target.least_ratio !== undefined) return ratio >= target.least_ratio;
  return target.least === undefined ? value <= target.value : value >= target.least;
}

function targetWords({ target, against }) {
  if (target === undefined) return '';
  const other = against ?? 'floor';
  if (target.ratio !== undefined) return `≤ ${target.ratio} × ${other}`;
  if (target.least_ratio !== undefined) return `≥ ${target.least_ratio} × ${other}`;
  return target.least === undefined ? `≤ ${number(target.value)}` : `≥ ${number(target.least)}`;
}

/** One line of the table. */
export function lineOf(result) {
  const { scenario, haproxy, unit, value, p95, p99, floor, against, also = {}, ratio, met } = result;
  const name = haproxy === undefined ? scenario : `${scenario} (${haproxy})`;
  if (result.skipped !== undefined) return [name, `not measured: ${result.skipped}`, '', '', '', '', ''];
  const references = Object.entries({ ...(floor !== undefined && { [against ?? 'floor']: floor }), ...also });
  return [
    name,
    `${number(value)} ${unit}`,
    p95 === undefined ? '' : `${number(p95)}, ${number(p99)}`,
    references.map(([of, figure]) => `${of} ${number(figure)}`).join(', '),
    ratio === undefined ? '' : number(ratio),
    targetWords(result),
    met === undefined ? '' : met ? 'yes' : 'NO',
  ];
}

const HEADINGS = ['figure', 'measured', 'p95, p99', 'against', 'ratio', 'target', 'met'];

export function textTable(results) {
  return table([HEADINGS, ...results.map(lineOf)], '  ', '─');
}

/** For docs/benchmarks.md. */
export function markdown({ date, machine, results }) {
  const about =
    `${date.slice(0, 10)}: ${machine.cores} cores (${machine.cpu}), ${machine.memory_gib} GiB, ` +
    `Linux ${machine.kernel}, Node ${machine.node}.`;
  const lines = table([HEADINGS, ...results.map(lineOf)], ' | ', '-').split('\n');
  return [about, '', ...lines.map((line) => `| ${line} |`)].join('\n');
}

function table([head, ...lines], gap, dash) {
  const widths = head.map((_, column) => Math.max(...[head, ...lines].map((line) => line[column].length)));
  const text = (line) => line.map((cell, column) => cell.padEnd(widths[column])).join(gap);
  return [text(head), text(widths.map((width) => dash.repeat(width))), ...lines.map(text)].join('\n');
}

/** Three digits that count, and thousands with a comma. */
function number(value) {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}

export function machine() {
  return {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    memory_gib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
  };
}
