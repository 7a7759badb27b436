/**
 * Starts clients that call `round(client, number)` again and again until `stop`. If a round fails, all clients end and
 * `check` throws the error.
 */
export function startClients(clients, round) {
  const ending = new AbortController();
  let failure;
  const client = async (_, n) => {
    for (let number = 0; !ending.signal.aborted; number += 1) await round(n, number);
  };
  const all = Promise.all(Array.from({ length: clients }, client)).catch((error) => {
    failure = error;
    ending.abort();
  });
  return {
    check: () => {
      if (failure) throw failure;
    },
    stop: () => {
      ending.abort();
      return all;
    },
  };
}
