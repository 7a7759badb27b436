/**
 * The addresses of `show cli sockets` (management guide, section 9.3):
 *
 *   # socket lvl processes
 *   /run/haproxy.sock admin all
 *   127.0.0.1:9999 admin all
 */
export function parseCliSockets(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(' ', 1)[0] ?? '');
}

/** The variables of `show env`, one `NAME=value` in each line. */
export function parseEnvironment(text: string): Map<string, string> {
  return new Map(
    text.split('\n').flatMap((line): [string, string][] => {
      const [, name = '', value = ''] = /^(\w+)=(.*)$/.exec(line) ?? [];
      return name === '' ? [] : [[name, value]];
    }),
  );
}
