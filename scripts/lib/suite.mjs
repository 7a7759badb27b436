import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createInterface } from 'node:readline';
import { ToolError } from './process.mjs';

const READY_MS = 60_000;

/** The suite as a child process, with a client for its REST API. */
export class Suite {
  #child;
  #exit;
  #stopping = false;
  #readyAnswer = 'nothing';

  constructor({ script, env, cwd, apiPort, tokenFile, onLine }) {
    this.url = `http://127.0.0.1:${apiPort}`;
    this.tokenFile = tokenFile;
    // Its own process group: Ctrl-C in the terminal must not reach it directly, only through stop().
    const options = { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] };
    this.#child = spawn(process.execPath, [script], options);
    for (const stream of [this.#child.stdout, this.#child.stderr])
      createInterface({ input: stream }).on('line', (line) => onLine(readable(line)));
    this.#exit = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(error.message));
      this.#child.once('exit', (code, signal) => resolve(signal ? `signal ${signal}` : `exit code ${code}`));
    });
  }

  /** Resolves when the suite has ended, with `exit code N`, `signal NAME` or the reason why it did not start. */
  get exited() {
    return this.#exit;
  }

  get stopping() {
    return this.#stopping;
  }

  /** Sends the signal, only on the first call, and resolves when the suite has ended. */
  async stop(signal) {
    if (!this.#stopping) {
      this.#stopping = true;
      this.#child.kill(signal);
    }
    return this.#exit;
  }

  /** Polls /readyz until it answers 200. */
  async ready() {
    const ended = this.#exit.then((how) => ({ how }));
    const end = Date.now() + READY_MS;
    for (;;) {
      if ((await this.#readyStatus()) === 200) return;
      const outcome = await Promise.race([ended, delay(100)]);
      if (outcome)
        throw new ToolError(
          `The suite ended before it was ready (${outcome.how}). Its last log lines say why.`,
        );
      if (Date.now() > end)
        throw new ToolError(
          `The suite was not ready after ${READY_MS / 1000} s. Its last answer from /readyz: ${this.#readyAnswer}`,
        );
    }
  }

  async #readyStatus() {
    try {
      const response = await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(2000) });
      this.#readyAnswer = (await response.text()).trim();
      return response.status;
    } catch {
      return 0;
    }
  }

  /** The admin token, which the suite creates on its first start. */
  get token() {
    const found = /^MCP_TOKEN=["']?([^"'\s]+)/m.exec(readFileSync(this.tokenFile, 'utf8'));
    if (!found) throw new ToolError(`${this.tokenFile} has no line MCP_TOKEN=…`);
    return found[1];
  }

  /** Calls the REST API. Resolves to `{ status, body }` for every status. */
  async call(method, path, body) {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.token}`,
        ...(body && { 'content-type': 'application/json' }),
      },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(30_000),
    }).catch((error) => {
      throw new ToolError(
        `${method} ${this.url}/api/v1${path} did not answer: ${error.cause?.message ?? error.message}`,
      );
    });
    const text = await response.text();
    return { status: response.status, body: parsed(text) };
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Without a terminal the suite logs JSON. Formats such a line as level, context and message. */
function readable(line) {
  const entry = line.startsWith('{') ? parsed(line) : undefined;
  if (typeof entry !== 'object' || entry === null) return line;
  const message = entry.message ?? entry.msg;
  if (typeof message !== 'string') return line;
  const level = typeof entry.level === 'string' ? entry.level.toUpperCase() : '';
  return [level, entry.context && `[${entry.context}]`, message].filter(Boolean).join(' ');
}
