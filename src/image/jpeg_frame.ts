const [BASELINE, EXTENDED, PROGRESSIVE] = [0xc0, 0xc1, 0xc2];
/** Sampling factors, across and down as hexadecimal digits, of the first component; the others have 1 × 1. */
const SAMPLINGS = [0x11, 0x21, 0x22];
/** Coefficients of a block. */
const BLOCK = 64;

/** What the frame header of a JPEG file says, and how far its scans go (ITU-T T.81 B.2.2, B.2.3). */
export class JpegFrame {
  readonly width: number;
  readonly height: number;
  readonly components: number;
  /** Huffman-coded samples of 8 bits, grey or colour, sampled in one of the usual ways. */
  readonly #common: boolean;
  /** Of a progressive frame, by component: how many bits of each coefficient are still to come; 255 while none has. */
  readonly #missing: Map<number, Uint8Array> | undefined;

  /** @param body what follows the segment's length, at least 6 bytes */
  constructor(marker: number, body: Uint8Array) {
    this.height = (body[1]! << 8) | body[2]!;
    this.width = (body[3]! << 8) | body[4]!;
    this.components = body[5]!;
    const factors = Array.from({ length: this.components }, (_, i) => body[7 + 3 * i] ?? 0);
    const [first = 0, ...others] = factors;
    this.#common =
      (marker === BASELINE || marker === EXTENDED || marker === PROGRESSIVE) &&
      body[0] === 8 &&
      (this.components === 1 ||
        (this.components === 3 && SAMPLINGS.includes(first) && others.every((factor) => factor === 0x11)));
    if (this.#common && marker === PROGRESSIVE) {
      const ids = factors.map((_, i) => body[6 + 3 * i]!);
      this.#missing = new Map(ids.map((id) => [id, new Uint8Array(BLOCK).fill(255)]));
    }
  }

  /** Takes note of a scan. @param body what follows the length of the scan's header */
  scan(body: Uint8Array): void {
    const count = body[0] ?? 0;
    const [first = BLOCK, last = 0, approximation = 0] = body.subarray(1 + 2 * count);
    for (let i = 0; i < count; i++) {
      const missing = this.#missing?.get(body[1 + 2 * i]!);
      missing?.fill(approximation & 15, first, Math.min(last, BLOCK - 1) + 1);
    }
  }

  /**
   * Whether every libjpeg makes the same bytes of it.
   *
   * Releases differ in how they smooth rarer samplings, and progressive pictures that end before they are complete.
   */
  get plain(): boolean {
    if (!this.#common) return false;
    return !this.#missing || [...this.#missing.values()].every((bits) => bits.every((bit) => bit === 0));
  }
}
