/**
 * What `work` resolves with, unless `signal` aborts before: then this rejects with its reason at once, and what becomes of the work
 * is nobody's concern.
 */
export async function unlessAborted<Result>(signal: AbortSignal | undefined, work: Promise<Result>): Promise<Result> {
  if (!signal) return work;
  // One of its own: Node warns of many listeners on one signal.
  const own = AbortSignal.any([signal]);
  const aborted = new Promise<never>((_, reject) => {
    own.onabort = () => reject(own.reason);
    if (own.aborted) reject(own.reason);
  });
  try {
    return await Promise.race([aborted, work]);
  } finally {
    own.onabort = null;
  }
}
