import { readFile } from 'node:fs/promises';
import { parse } from 'dotenv';
import { messageOf, type Problem } from '../../errors/app-error.js';
import { findRuntimeApi } from '../../haproxy/config/runtime-api.js';
import { formatHostPort } from '../../model/ip-address.js';
import { loadSettings } from '../../settings/settings.js';
import { CommandError, EXIT, UsageError } from '../exit-code.js';

/** The suite refused a request. */
export class RefusedError extends Error {
  constructor(readonly problem: Pick<Problem, 'code' | 'detail' | 'errors' | 'status'>) {
    super(problem.detail);
  }
}

/** The suite did not answer. It is not known whether it has received the request. */
export class NoAnswerError extends CommandError {
  constructor(url: string, cause: unknown) {
    const inner = cause instanceof Error && cause.cause !== undefined ? cause.cause : cause;
    super(
      `The suite at ${url} does not answer: ${messageOf(inner)}. Check that it runs, or give its address with --url.`,
      EXIT.unreachable,
    );
  }
}

/** What apply needs of the REST API. */
export interface SuiteApi {
  /** `GET /api/v1/export` as NDJSON. @throws RefusedError, NoAnswerError */
  exported(): Promise<string>;
  /** `POST /api/v1/import?mode=put`. @throws RefusedError, NoAnswerError */
  putAll(lines: string, options: { dryRun: boolean }): Promise<void>;
}

export interface SuiteTarget {
  url?: string | undefined;
  tokenFile?: string | undefined;
}

/** The suite that the options and the environment name, or the suite of this machine. @throws UsageError */
export async function suiteApi(target: SuiteTarget, env: NodeJS.ProcessEnv): Promise<SuiteApi> {
  const settings = loadSettings(env, findRuntimeApi);
  const { host, port } = settings.api;
  const named = target.url ?? env['HAPROXY_SUITE_URL'];
  const name = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const url = new URL(named ?? `http://${formatHostPort(name, port)}`);
  if (!/^https?:$/.test(url.protocol))
    throw new UsageError(`${url.href} must begin with http:// or https://.`);
  // The token of this machine is not sent to another one.
  const file = target.tokenFile ?? (named === undefined ? settings.files.token : undefined);
  const token = env['HAPROXY_SUITE_TOKEN'] ?? (file === undefined ? undefined : await readToken(file));
  return new HttpSuiteApi(url.origin, token);
}

async function readToken(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new UsageError(
      `The token file cannot be read: ${messageOf(error)}. Give --token-file, or HAPROXY_SUITE_TOKEN.`,
    );
  });
  return parse(text)['MCP_TOKEN'] ?? text.trim();
}

class HttpSuiteApi implements SuiteApi {
  constructor(
    private readonly url: string,
    private readonly token: string | undefined,
  ) {}

  exported(): Promise<string> {
    return this.#request('/api/v1/export', {});
  }

  async putAll(lines: string, { dryRun }: { dryRun: boolean }): Promise<void> {
    await this.#request(`/api/v1/import?mode=put&dry_run=${String(dryRun)}`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines,
    });
  }

  async #request(path: string, init: RequestInit & { headers?: Record<string, string> }): Promise<string> {
    const headers = { ...init.headers, ...(this.token && { authorization: `Bearer ${this.token}` }) };
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${this.url}${path}`, { ...init, headers });
      text = await response.text();
    } catch (error) {
      throw new NoAnswerError(this.url, error);
    }
    if (response.ok) return text;
    throw new RefusedError(problemOf(text, response.status));
  }
}

function problemOf(text: string, status: number): RefusedError['problem'] {
  try {
    const problem = JSON.parse(text) as Problem;
    if (typeof problem.detail === 'string') return problem;
  } catch {
    // A proxy may answer with a page of its own.
  }
  return {
    code: 'internal_error',
    status,
    detail: `The answer has status ${status} and is not from the suite.`,
  };
}
