/** A decoded picture: 8-bit RGB, row-major, channels innermost (HWC), `data.length === width * height * 3`. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array<ArrayBuffer>;
}
