/** A state of a size: its servers and domains spread evenly over its pools. */
export async function makeState({ servers, pools, domains }) {
  const { State } = await import('../../dist/persistence/state.js');
  const made = Array.from({ length: pools }, (_, p) => {
    const slots = Array.from({ length: servers / pools }, (__, s) => [
      s + 1,
      { ip: `10.${p >> 8}.${p & 255}.${s + 1}`, http_port: 80, weight: 1, state: 'ready' },
    ]);
    const names = Array.from({ length: domains / pools }, (__, d) => `d${d}.p${p}.example.com`);
    return [`pool_${p + 1}`, { domains: names, servers: new Map(slots) }];
  });
  return new State(1, made);
}
