/** Values that depend on a weight and on a number, found once: a decode step asks for those of the step before. */
export class Recollection<V> {
  #known = new WeakMap<object, Map<number, V>>();

  /** @param kind says what but the weight the value depends on */
  get(weight: object, kind: number, find: () => V): V {
    const kinds = this.#known.get(weight) ?? new Map<number, V>();
    const known = kinds.get(kind);
    if (known !== undefined) return known;
    const value = find();
    this.#known.set(weight, kinds.set(kind, value));
    return value;
  }

  clear(): void {
    this.#known = new WeakMap();
  }
}

/** One object for all that are equal: what is the same object need not be compared. */
export class Originals<T extends object> {
  readonly #known = new Map<string, T>();

  of(value: T): T {
    const key = JSON.stringify(value);
    const original = this.#known.get(key) ?? value;
    this.#known.set(key, original);
    return original;
  }
}
