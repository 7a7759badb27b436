/** A checkpoint runs when no commit has arrived for this time. */
const IDLE_MS = 1_000;
/** While commits keep arriving, a checkpoint runs at the latest after this time. */
const MAX_DELAY_MS = 60_000;
/** A checkpoint runs at once with this many commits in the journal. */
const MAX_COMMITS = 5_000;
/** The pause after a checkpoint that failed, for example because the disk is full. */
const RETRY_MS = 30_000;

/** Decides when a checkpoint folds the journal into `servers.json`: soon, but not in the middle of a burst of commits. */
export class CheckpointTimer {
  #timer: NodeJS.Timeout | undefined;
  /** When the first commit since the last checkpoint arrived. */
  #since: number | undefined;
  /** No checkpoint runs before this time, because the last one failed. */
  #notBefore = 0;
  #stopped = false;

  /** If `checkpoint` rejects, it runs again after RETRY_MS. */
  constructor(private readonly checkpoint: () => Promise<void>) {}

  /** Call it after each commit to the journal. `commits` is how many the journal holds now. */
  onCommit(commits: number): void {
    if (this.#stopped) return;
    const now = performance.now();
    this.#since ??= now;
    const left = commits >= MAX_COMMITS ? 0 : MAX_DELAY_MS - (now - this.#since);
    this.#schedule(Math.max(0, Math.min(IDLE_MS, left), this.#notBefore - now));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(milliseconds: number): void {
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#run(), milliseconds).unref();
  }

  async #run(): Promise<void> {
    this.#since = undefined;
    await this.checkpoint().catch(() => {
      this.#notBefore = performance.now() + RETRY_MS;
      this.#schedule(RETRY_MS);
    });
  }
}
