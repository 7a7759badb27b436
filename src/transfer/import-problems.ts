import { AppError, type ErrorCode } from '../errors/app-error.js';
import type { SkippedLineDto } from './transfer.dto.js';

/** What an error names; whoever has more wrong lines than that has the same mistake in all of them. */
const TOLD = 20;
const SKIPPED_SHOWN = 100;

/** The lines that are wrong: all that an error tells, or what an import that goes on leaves out. */
export class ImportProblems {
  constructor(
    private readonly goesOn: boolean,
    readonly skipped: SkippedLineDto[] = [],
    private counted = 0,
  ) {}

  get count(): number {
    return this.counted;
  }

  /** A copy that goes on from here: the rules may be asked twice. */
  fork(): ImportProblems {
    return new ImportProblems(this.goesOn, [...this.skipped], this.counted);
  }

  /** @throws AppError once there are as many as an error tells */
  readonly add = (line: number, code: ErrorCode, message: string): void => {
    this.counted += 1;
    if (this.skipped.length < SKIPPED_SHOWN) this.skipped.push({ line, code, message });
    if (!this.goesOn && this.counted === TOLD) this.check();
  };

  /** @throws AppError with the code of the first wrong line, where one is enough to stop */
  check(): void {
    const [first] = this.skipped;
    if (this.goesOn || !first) return;
    const words = this.skipped.slice(0, 3).map(({ line, message }) => `line ${line}: ${message}`);
    const more = this.counted > words.length ? '; and more (see errors)' : '';
    throw new AppError(
      first.code as ErrorCode,
      `${words.join('; ')}${more}. Nothing was changed: correct the lines and send all of them again.`,
      { errors: this.skipped.map(({ line, message }) => ({ field: `line ${line}`, message })) },
    );
  }
}
