export interface Gate {
  /** Resolves once it was opened. */
  readonly opened: Promise<void>;
  open(): void;
}

/** Something that waits until a test says so, instead of for a time in which a busy machine gets nothing done. */
export function newGate(): Gate {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
