import { describe, expect, it } from 'vitest';
import { ProgramFailure, runProgram } from './run-program.js';

const failureOf = async (program: string, args: readonly string[], limitMs?: number) => {
  const failure = await runProgram(program, args, limitMs).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(failure).toBeInstanceOf(ProgramFailure);
  const { message, reason } = failure as ProgramFailure;
  return { message, reason };
};

describe('runProgram', () => {
  it('returns the output of a program that ends, also if it fails', async () => {
    expect(await runProgram('sh', ['-c', 'echo out; echo err >&2; exit 3'])).toEqual({
      success: false,
      exitCode: 3,
      output: 'err\nout\n',
    });
  });

  it('says that a program hung, also if it ignores SIGTERM', async () => {
    expect(
      await failureOf('sh', ['-c', 'trap "" TERM; echo waiting; while :; do sleep 1; done'], 300),
    ).toEqual({
      message: expect.stringMatching(/did not finish within 0\.3 s, and the suite ended it\..*: waiting$/),
      reason: 'timeout',
    });
  });

  it('distinguishes a missing program, one that cannot run, and one that a signal ended', async () => {
    expect(await failureOf('/no/such/program', [])).toMatchObject({ reason: 'missing' });
    expect(await failureOf('/etc/passwd', [])).toMatchObject({ reason: 'cannot_run' });
    expect(await failureOf('sh', ['-c', 'kill -KILL $$'])).toEqual({
      message: expect.stringContaining('was ended by SIGKILL. It printed nothing.'),
      reason: 'ended',
    });
  });
});
