import { Readable } from 'node:stream';
import type { Problem } from '../../errors/app-error.js';
import type { SuiteAnswer, SuiteClient } from '../suite-client.js';

/** The suite refused a request. */
export class RefusedError extends Error {
  constructor(readonly problem: Pick<Problem, 'code' | 'detail' | 'errors' | 'status'>) {
    super(problem.detail);
  }
}

/** What apply needs of the REST API. */
export interface SuiteApi {
  /** `GET /api/v1/export` as NDJSON. @throws RefusedError, NoAnswerError */
  exported(): Promise<string>;
  /** `POST /api/v1/import?mode=put`. @throws RefusedError, NoAnswerError */
  putAll(lines: string, options: { dryRun: boolean }): Promise<void>;
}

export class RestSuiteApi implements SuiteApi {
  constructor(private readonly client: SuiteClient) {}

  async exported(): Promise<string> {
    return this.#read(await this.client.send({ method: 'GET', path: '/api/v1/export' }));
  }

  async putAll(lines: string, { dryRun }: { dryRun: boolean }): Promise<void> {
    const path = `/api/v1/import?mode=put&dry_run=${String(dryRun)}`;
    const content = { type: 'application/x-ndjson', stream: Readable.from([lines]) };
    await this.#read(await this.client.send({ method: 'POST', path, content }));
  }

  async #read(answer: SuiteAnswer): Promise<string> {
    const text = await this.client.read(answer);
    if (answer.status < 300) return text;
    const problem = JSON.parse(text) as Problem;
    throw new RefusedError(
      answer.status === 401 ? { ...problem, detail: this.client.unauthorized } : problem,
    );
  }
}
