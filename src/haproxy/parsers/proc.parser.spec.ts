import { describe, expect, it } from 'vitest';
import { parseProcesses } from './proc.parser.js';

/** As HAProxy 3.0 prints it; later versions print no "# programs". */
const TEXT = `#<PID>          <type>          <reloads>       <uptime>        <version>
5871            master          4 [failed: 2]   3d02h00m05s     3.0.11-1+deb13u4
# workers
5929            worker          0               0d00h00m30s     3.0.11-1+deb13u4
# old workers
5900            worker          1               0d01h02m03s     3.0.11-1+deb13u4
5874            worker          4               3d02h00m05s     3.0.11-1+deb13u4
# programs

`;

describe('parseProcesses', () => {
  it('reads the workers, and when each old worker was replaced at the latest', () => {
    expect(parseProcesses(TEXT)).toEqual({
      master: 5871,
      failedReloads: 2,
      workers: [5929],
      oldWorkers: [
        { pid: 5900, reloads: 1, uptimeSeconds: 3723, replacedSeconds: 30 },
        { pid: 5874, reloads: 4, uptimeSeconds: 266_405, replacedSeconds: 3723 },
      ],
    });
  });

  it('takes the worker that serves after a failed reload, which HAProxy 3.2 lists as an old worker', () => {
    const failed = TEXT.replace(/^5929.*\n/m, '');
    expect(parseProcesses(failed)).toMatchObject({ workers: [5900], oldWorkers: [{ pid: 5874 }] });
  });

  it.each(['', 'Permission denied!\n', '220 mail ESMTP\r\n', '# workers\n1 worker 0 0d00h00m00s 3.2\n'])(
    'refuses %j, which is not of a master',
    (text) => {
      expect(() => parseProcesses(text)).toThrow(
        expect.objectContaining({ code: 'haproxy_unavailable' }) as Error,
      );
    },
  );
});
