/** A state of the given size, with servers and domains distributed evenly over the pools. */
export async function makeState({ servers, pools, domains }) {
  const { State } = await import('../../build/model/state.js');
  const made = Array.from({ length: pools }, (_, p) => {
    const slots = Array.from({ length: servers / pools }, (__, s) => [
      s + 1,
      { ip: `10.${p >> 8}.${p & 255}.${s + 1}`, http_port: 80, weight: 1, state: 'ready' },
    ]);
    const names = Array.from({ length: domains / pools }, (__, d) => `d${d}.p${p}.example.com`);
    return [`pool_${p + 1}`, { domains: names, servers: new Map(slots) }];
  });
  // JSON gives flat strings, as if read from a file. V8 joins the parts of a concatenated string only on first use.
  const names = JSON.parse(JSON.stringify(made.map(([, { domains }]) => domains)));
  return new State(
    1,
    made.map(([name, { servers }], p) => [name, { domains: names[p], servers }]),
  );
}
