/** Changes after which a process is one that has been in use. */
const CHANGES = 1500;
const FEW = 30;

/**
 * Rounds of so many changes, which do not count, one round after the other: V8 compiles what is run often, beside it,
 * and until it has, a change takes twice as long. What a process costs that has just been started is measured before.
 */
export async function warmUp(quick, changes, round) {
  const rounds = Math.ceil((quick ? FEW : CHANGES) / changes);
  for (let number = 0; number < rounds; number += 1) await round(number);
}
