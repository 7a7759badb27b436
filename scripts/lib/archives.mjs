/**
 * Writers of tar (ustar, POSIX.1-1988) and ar archives whose bytes depend only on their arguments: owner root, no times
 * but the given one.
 */

/** @typedef {{ path: string, mode: number, content?: Buffer, link?: string }} Entry a folder if it has neither */

/** A tar archive. Folders above an entry come before it. @param {readonly Entry[]} entries @returns {Buffer} */
export function tar(entries, time) {
  return Buffer.concat([...withFolders(entries).flatMap((entry) => member(entry, time)), Buffer.alloc(1024)]);
}

function withFolders(entries) {
  const all = new Map([['./', { path: './', mode: 0o755 }]]);
  for (const entry of entries.toSorted((one, other) => (one.path < other.path ? -1 : 1))) {
    const parts = entry.path.split('/');
    for (let depth = 1; depth < parts.length; depth += 1) {
      const path = `./${parts.slice(0, depth).join('/')}/`;
      if (!all.has(path)) all.set(path, { path, mode: 0o755 });
    }
    all.set(entry.path, { ...entry, path: `./${entry.path}` });
  }
  return [...all.values()];
}

function member({ path, mode, content = Buffer.alloc(0), link }, time) {
  const header = Buffer.alloc(512);
  const { name, prefix } = splitPath(path);
  const type = link === undefined ? (path.endsWith('/') ? '5' : '0') : '2';
  const fields = [
    [0, name],
    [100, octal(mode, 8)],
    [108, octal(0, 8)],
    [116, octal(0, 8)],
    [124, octal(content.length, 12)],
    [136, octal(time, 12)],
    [148, ' '.repeat(8)],
    [156, type],
    [157, link ?? ''],
    [257, 'ustar\u000000'],
    [265, 'root'],
    [297, 'root'],
    [345, prefix],
  ];
  for (const [offset, text] of fields) header.write(text, offset, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
}

const octal = (value, length) => `${value.toString(8).padStart(length - 1, '0')}\0`;

/** ustar has 100 bytes for a name and 155 for the folders before it. */
function splitPath(path) {
  if (path.length <= 100) return { name: path, prefix: '' };
  const cut = path.indexOf('/', path.length - 101);
  if (cut === -1 || cut > 155) throw new Error(`The path is too long for a tar archive: ${path}`);
  return { name: path.slice(cut + 1), prefix: path.slice(0, cut) };
}

/** An ar archive as deb(5) needs it. @param {readonly [name: string, content: Buffer][]} files @returns {Buffer} */
export function ar(files, time) {
  return Buffer.concat([
    Buffer.from('!<arch>\n'),
    ...files.flatMap(([name, content]) => [
      Buffer.from(
        `${name.padEnd(16)}${String(time).padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(content.length).padEnd(10)}\`\n`,
      ),
      content,
      Buffer.alloc(content.length % 2, '\n'),
    ]),
  ]);
}
