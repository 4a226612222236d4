/** Flips, inserts, deletes or repeats bytes at random places. */
export function mutate(bytes: Uint8Array, random: () => number): Uint8Array<ArrayBuffer> {
  const list = [...bytes];
  for (let n = 1 + Math.floor(random() * 4); n > 0; n--) {
    const at = Math.floor(random() * list.length);
    const byte = Math.floor(random() * 256);
    const kind = random();
    if (kind < 0.5) list[at] = byte;
    else if (kind < 0.65) list.splice(at, 0, byte);
    else if (kind < 0.8) list.splice(at, 1 + Math.floor(random() * 8));
    else if (kind < 0.9) list[at] = '0123456789[]{}",:-'.charCodeAt(byte % 18);
    else list.length = at;
  }
  return Uint8Array.from(list);
}

/** Numbers in [0, 1), the same for the same seed. */
export function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
