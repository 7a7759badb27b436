import { cpus, release, totalmem } from 'node:os';

/**
 * Adds `ratio` (value : floor) and `met` (whether the target is met) to a result.
 *
 * A result is `{ scenario, haproxy, unit, value }`. Optional fields: `p95` and `p99`, if `value` is a median; `floor`,
 * the reference from the same run, and `against`, its name if it is not the floor; `also`, further references by name;
 * `target`. Without a value, `skipped` says why.
 */
export function judge(result) {
  if (result.skipped !== undefined || result.value === undefined) return result;
  const ratio = result.ratio ?? (result.floor === undefined ? undefined : result.value / result.floor);
  return { ...result, ratio, met: result.target === undefined ? undefined : isMet(result, ratio) };
}

/** A target is an upper limit of the ratio or of the value, or a lower limit if its name has `least`. */
function isMet({ target, value }, ratio) {
  if (target.ratio !== undefined) return ratio <= target.ratio;
  if (target.least_ratio !== undefined) return ratio >= target.least_ratio;
  return target.least === undefined ? value <= target.value : value >= target.least;
}

function targetText({ target, against }) {
  if (target === undefined) return '';
  const other = against ?? 'floor';
  if (target.ratio !== undefined) return `≤ ${target.ratio} × ${other}`;
  if (target.least_ratio !== undefined) return `≥ ${target.least_ratio} × ${other}`;
  return target.least === undefined ? `≤ ${number(target.value)}` : `≥ ${number(target.least)}`;
}

/** The cells of one line of the table. */
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
    targetText(result),
    met === undefined ? '' : met ? 'yes' : 'NO',
  ];
}

const HEADINGS = ['figure', 'measured', 'p95, p99', 'against', 'ratio', 'target', 'met'];

export function textTable(results) {
  return table([HEADINGS, ...results.map(lineOf)], '  ', '─');
}

/** The table for docs/benchmarks.md. */
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

/** Three significant digits; numbers from 100 on as integers with a comma after the thousands. */
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
