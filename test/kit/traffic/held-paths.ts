import { type Gate, newGate } from './gate.js';

/** Holds requests below `/held` until the test releases their path. */
export function gate(): { opened(path: string): Promise<void>; release(path: string): void } {
  const gates = new Map<string, Gate>();
  const of = (path: string): Gate => {
    const found = gates.get(path) ?? newGate();
    gates.set(path, found);
    return found;
  };
  return {
    opened: (path) => (path.startsWith('/held') ? of(path).opened : Promise.resolve()),
    release: (path) => of(path).open(),
  };
}
