/** Copies a body into `target`; returns how many bytes arrived, at most its length. */
export async function readInto(response: Response, target: Uint8Array, touch: () => void): Promise<number> {
  let filled = 0;
  for await (const chunk of chunks(response, touch)) {
    const part = chunk.subarray(0, target.length - filled);
    target.set(part, filled);
    filled += part.length;
    if (filled === target.length) break;
  }
  return filled;
}

/** A whole body; throws what `tooLarge` makes when it is longer than `limit`. */
export async function readAll(
  response: Response,
  limit: number,
  touch: () => void,
  tooLarge: () => Error,
): Promise<Uint8Array<ArrayBuffer>> {
  const parts: Uint8Array[] = [];
  let size = 0;
  if (Number(response.headers.get("content-length") ?? 0) > limit) throw tooLarge();
  for await (const chunk of chunks(response, touch)) {
    size += chunk.length;
    if (size > limit) throw tooLarge();
    parts.push(chunk);
  }
  const bytes = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/** Not every browser can iterate a ReadableStream. */
async function* chunks(response: Response, touch: () => void): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      touch();
      yield value;
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
