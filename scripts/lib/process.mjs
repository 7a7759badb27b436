import { spawn } from 'node:child_process';

/** A failure that is told to the user in its own words, without a stack. */
export class ToolError extends Error {}

/** Progress goes to stderr, because stdout carries results that other programs read. */
export function say(message) {
  process.stderr.write(`${message}\n`);
}

/**
 * Runs a command without stdin and resolves to `{ code, stdout, output }`; `output` holds stdout and stderr as
 * they came. A command that cannot be started at all rejects with the error of spawn (ENOENT and the like).
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

const outlive = () => undefined;

/**
 * Runs a command in the foreground, its output being ours, and resolves to its exit code. Ctrl-C reaches it from
 * the terminal, so that we only have to outlive it; SIGTERM comes to us alone and is passed on.
 */
export function foreground(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'inherit', 'inherit'] });
    const passOn = (signal) => child.kill(signal);
    process.on('SIGINT', outlive);
    process.on('SIGTERM', passOn);
    const restore = () => {
      process.off('SIGINT', outlive);
      process.off('SIGTERM', passOn);
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

/** Runs the main function of a script; a ToolError becomes one readable message and exit code 1. */
export async function main(run) {
  try {
    process.exitCode = await run(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    say(`error: ${error.message}`);
    process.exitCode = 1;
  }
}
