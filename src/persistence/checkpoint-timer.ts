/** A large `servers.json` is brought up to date once nothing has changed for this long … */
const IDLE_MS = 1_000;
/** … or, while changes go on, after so long, or with so many commits in the journal. */
const LONGEST_MS = 60_000;
const MOST_COMMITS = 5_000;
/** After a failure: a full disk is not filled again every second. */
const RETRY_MS = 30_000;

/** Says when the journal is to be folded into `servers.json`: soon, but not between two changes of a burst. */
export class CheckpointTimer {
  #timer: NodeJS.Timeout | undefined;
  #since: number | undefined;
  /** Not before then, whatever comes in: the last time it failed. */
  #notBefore = 0;
  #stopped = false;

  /** `work` is repeated later where it fails. */
  constructor(private readonly work: () => Promise<void>) {}

  /** A commit went into the journal, which holds so many now. */
  touch(commits: number): void {
    if (this.#stopped) return;
    const now = performance.now();
    this.#since ??= now;
    const left = commits >= MOST_COMMITS ? 0 : LONGEST_MS - (now - this.#since);
    this.#wait(Math.max(0, Math.min(IDLE_MS, left), this.#notBefore - now));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #wait(milliseconds: number): void {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#run(), milliseconds).unref();
  }

  async #run(): Promise<void> {
    this.#since = undefined;
    await this.work().catch(() => {
      this.#notBefore = performance.now() + RETRY_MS;
      this.#wait(RETRY_MS);
    });
  }
}
