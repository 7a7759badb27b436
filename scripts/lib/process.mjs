import { spawn } from 'node:child_process';

/** An error whose message is shown to the user without a stack trace. */
export class ToolError extends Error {}

/** Prints progress to stderr. stdout is for results that other programs read. */
export function say(message) {
  process.stderr.write(`${message}\n`);
}

/**
 * Runs a command without stdin. Resolves to `{ code, signal, stdout, output }`; `output` is stdout and stderr in the
 * order of arrival. Rejects with the error of `spawn`, such as ENOENT, if the command does not start.
 */
export function capture(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({ code: code ?? 128, signal, stdout, output });
    });
  });
}

const ignore = () => undefined;

/**
 * Runs a command with the stdout and stderr of this process. Resolves to its exit code. The terminal sends Ctrl-C to
 * both processes, so this process ignores it and waits for the command. SIGTERM reaches only this process, which sends
 * it on to the command.
 */
export function foreground(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'inherit', 'inherit'] });
    const forward = (signal) => child.kill(signal);
    process.on('SIGINT', ignore);
    process.on('SIGTERM', forward);
    const restore = () => {
      process.off('SIGINT', ignore);
      process.off('SIGTERM', forward);
    };
    child.on('error', (error) => {
      restore();
      reject(error);
    });
    child.on('close', (code, signal) => {
      restore();
      resolve(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}

/** Runs the main function of a script. Prints the message of a ToolError and exits with code 1. */
export async function main(run) {
  try {
    process.exitCode = await run(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    say(`error: ${error.message}`);
    process.exitCode = 1;
  }
}
