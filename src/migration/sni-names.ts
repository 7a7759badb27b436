import type { Proxy } from './proxies.js';
import type { SourceLine } from './source-lines.js';

/** The names of the TLS handshake that a line of a TCP section compares, in lower case. `.example.com` is an ending. */
export function sniNames({ section, entrances }: Proxy): Map<string, SourceLine> {
  const names = new Map<string, SourceLine>();
  if (!entrances.some(({ port }) => port === 443)) return names;
  for (const line of section.lines) {
    let isSni = false;
    let isEnding = false;
    for (const [index, word] of line.words.entries()) {
      const [, suffix] = /^(?:req[._])?ssl_sni(_end)?(?:,|$)/.exec(word) ?? [];
      if (/^(?:req[._])?ssl_sni/.test(word)) {
        isSni = true;
        isEnding = suffix !== undefined;
      } else if (word === '}') isSni = false;
      else if (isSni && line.words[index - 1] === '-m') isEnding = word === 'end';
      else if (isSni && !word.startsWith('-')) {
        const name = word.toLowerCase();
        const key = isEnding && !name.startsWith('.') ? `.${name}` : name;
        for (const one of isEnding ? [name, key] : [name]) if (!names.has(one)) names.set(one, line);
      }
    }
  }
  return names;
}
