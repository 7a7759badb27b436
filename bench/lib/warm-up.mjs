const CHANGES = 1500;
const QUICK_CHANGES = 30;

/**
 * Runs rounds that are not measured, each of `changesPerRound` changes. V8 optimizes functions that run often; before
 * that a change takes twice as long. Measure a suite that has just started before the warm-up.
 */
export async function warmUp(quick, changesPerRound, round) {
  const rounds = Math.ceil((quick ? QUICK_CHANGES : CHANGES) / changesPerRound);
  for (let number = 0; number < rounds; number += 1) await round(number);
}
