/** The options that every operation takes. */
const WITH_VALUE: ReadonlySet<string> = new Set(['--url', '--token-file']);
const WITHOUT_VALUE: ReadonlySet<string> = new Set(['--json', '--help', '-h']);

/** Where the first word of the command is, after such options; the length without one. */
export function commandAt(argv: readonly string[]): number {
  let at = 0;
  while (argv[at]?.startsWith('-') === true) at += WITH_VALUE.has(argv[at] ?? '') ? 2 : 1;
  return Math.min(at, argv.length);
}

/** The words of the command: at most two, up to the first option of the command itself. */
export function commandWords(argv: readonly string[]): string[] {
  const words: string[] = [];
  for (let at = 0; at < argv.length && words.length < 2; at += 1) {
    const word = argv[at] ?? '';
    if (!word.startsWith('-')) words.push(word);
    else if (WITH_VALUE.has(word)) at += 1;
    else if (!WITHOUT_VALUE.has(word)) break;
  }
  return words;
}
