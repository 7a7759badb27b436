import { AppError, type ErrorCode } from '../errors/app-error.js';
import type { SkippedLineDto } from './transfer.dto.js';

/** How many invalid lines an error names. */
const ERRORS_SHOWN = 20;
const SKIPPED_SHOWN = 100;

/** Collects the invalid lines of an import. With on_error=skip the import continues without them. */
export class ImportProblems {
  #count: number;
  /** Lines that change nothing and are no error. */
  readonly #leftOut: SkippedLineDto[] = [];

  constructor(
    private readonly skipsLines: boolean,
    readonly skipped: SkippedLineDto[] = [],
    count = 0,
  ) {
    this.#count = count;
  }

  get count(): number {
    return this.#count;
  }

  /** What the answer says about lines that were skipped. */
  get report(): { skipped_count: number; skipped: SkippedLineDto[] } {
    return {
      skipped_count: this.#count + this.#leftOut.length,
      skipped: [...this.skipped, ...this.#leftOut].slice(0, SKIPPED_SHOWN),
    };
  }

  /** Adds a line that the import leaves out in every mode. */
  leaveOut(line: number, message: string): void {
    this.#leftOut.push({ line, code: 'validation_failed', message });
  }

  /** An independent copy. Each run of an edit needs its own, because a commit can run the edit again. */
  copy(): ImportProblems {
    return new ImportProblems(this.skipsLines, [...this.skipped], this.#count);
  }

  /** @throws AppError with on_error=abort, when there are as many problems as an error names */
  readonly add = (line: number, code: ErrorCode, message: string): void => {
    this.#count += 1;
    if (this.skipped.length < SKIPPED_SHOWN) this.skipped.push({ line, code, message });
    if (!this.skipsLines && this.#count === ERRORS_SHOWN) this.check();
  };

  /** @throws AppError with the code of the first problem, unless on_error=skip */
  check(): void {
    const [first] = this.skipped;
    if (this.skipsLines || !first) return;
    const details = this.skipped.slice(0, 3).map(({ line, message }) => `line ${line}: ${message}`);
    const more = this.#count > details.length ? '; and more (see errors)' : '';
    throw new AppError(
      first.code as ErrorCode,
      `${details.join('; ')}${more}. Nothing was changed: correct the lines and send all lines again.`,
      { errors: this.skipped.map(({ line, message }) => ({ field: `line ${line}`, message })) },
    );
  }
}
