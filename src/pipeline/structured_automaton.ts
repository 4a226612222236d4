import { InputError } from "../errors.ts";
import { utf8Ranges } from "./structured_chars.ts";
import type { Expression, Grammar } from "./structured_rules.ts";

/** A place within the rules: by which bytes, or by which rule, it goes on. */
interface Node {
  readonly id: number;
  readonly bytes: { readonly low: number; readonly high: number; readonly to: Node }[];
  readonly free: Node[];
  readonly calls: { readonly rule: string; readonly back: Node }[];
  /** The rule ends here. */
  readonly isEnd: boolean;
}

/** The rules that are under way: where each goes on when the one it waits for has ended. */
interface Frame {
  readonly id: number;
  readonly back: Node | undefined;
  readonly below: Frame | undefined;
  readonly above: Map<Node, Frame>;
}

/** Everything a text may be in the middle of after some bytes. Found again by the same bytes, or others of the same effect. */
export interface State {
  readonly threads: readonly { readonly node: Node; readonly frame: Frame }[];
  /** The text may end here. */
  readonly accepts: boolean;
  /** By byte: the next state, null where there is none, undefined where nobody has asked yet. */
  readonly next: (State | null | undefined)[];
}

/** A grammar that would grow past this is refused. */
const MAX_NODES = 100_000;
/** States that are kept to be found again. */
const MAX_STATES = 2048;

/** Reads texts byte by byte by a grammar: a pushdown automaton that follows all possibilities at once, and remembers. */
export class Automaton {
  readonly #entries = new Map<string, Node>();
  #nodes = 0;
  #frames = 0;
  readonly #root: Frame;
  readonly #states = new Map<string, State>();
  readonly start: State;

  /** @throws InputError when the grammar is too large */
  constructor(grammar: Grammar) {
    for (const name of grammar.keys()) this.#entries.set(name, this.#node());
    for (const [name, body] of grammar) this.#build(body, this.#entries.get(name)!, this.#node(true));
    this.#root = this.#frame(undefined, undefined);
    const [first] = this.#entries.values();
    this.start = this.#state([{ node: first!, frame: this.#root }])!;
  }

  /** The state after one more byte; null where the grammar has no such text. */
  step(state: State, byte: number): State | null {
    const known = state.next[byte];
    if (known !== undefined) return known;
    const threads: { node: Node; frame: Frame }[] = [];
    for (const { node, frame } of state.threads) {
      for (const { low, high, to } of node.bytes) if (byte >= low && byte <= high) threads.push({ node: to, frame });
    }
    const next = threads.length === 0 ? null : this.#state(threads);
    state.next[byte] = next;
    return next;
  }

  #node(isEnd = false): Node {
    if (this.#nodes === MAX_NODES) {
      throw new InputError("format: the grammar is too large", { hint: "Use fewer or shorter repetitions." });
    }
    return { id: this.#nodes++, bytes: [], free: [], calls: [], isEnd };
  }

  /** Makes an expression lead from one node to another. */
  #build(body: Expression, from: Node, to: Node): void {
    switch (body.kind) {
      case "chars":
        for (const [first, last] of body.set) for (const path of utf8Ranges(first, last)) this.#path(path, from, to);
        return;
      case "rule":
        from.calls.push({ rule: body.name, back: to });
        return;
      case "either":
        for (const option of body.options) this.#build(option, from, to);
        return;
      case "sequence":
        this.#sequence(body.parts, from, to);
        return;
      case "times":
        this.#times(body, from, to);
    }
  }

  #path(path: readonly (readonly [number, number])[], from: Node, to: Node): void {
    let at = from;
    for (const [i, [low, high]] of path.entries()) {
      const next = i === path.length - 1 ? to : this.#node();
      at.bytes.push({ low, high, to: next });
      at = next;
    }
  }

  #sequence(parts: readonly Expression[], from: Node, to: Node): void {
    let at = from;
    for (const [i, part] of parts.entries()) {
      const next = i === parts.length - 1 ? to : this.#node();
      this.#build(part, at, next);
      at = next;
    }
    if (parts.length === 0) from.free.push(to);
  }

  #times({ of, from: least, to: most }: Expression & { kind: "times" }, from: Node, to: Node): void {
    // A loop of its own, so that nothing else that leads here leads into it.
    let at = this.#node();
    from.free.push(at);
    const copies = most === Number.POSITIVE_INFINITY ? least : most;
    for (let i = 0; i < copies; i++) {
      if (i >= least) at.free.push(to);
      const next = this.#node();
      this.#build(of, at, next);
      at = next;
    }
    if (most === Number.POSITIVE_INFINITY) {
      const loop = this.#node();
      at.free.push(loop);
      this.#build(of, loop, at);
    }
    at.free.push(to);
  }

  #frame(back: Node | undefined, below: Frame | undefined): Frame {
    return { id: this.#frames++, back, below, above: new Map() };
  }

  /** The frame in which a rule runs; one that ends its caller goes back to the caller's caller. */
  #call(back: Node, below: Frame): Frame {
    if (back.isEnd) return below;
    const known = below.above.get(back);
    if (known) return known;
    const frame = this.#frame(back, below);
    below.above.set(back, frame);
    return frame;
  }

  /** All that these threads can be at without another byte. */
  #state(threads: { node: Node; frame: Frame }[]): State {
    const seen = new Set<number>();
    const reading: { node: Node; frame: Frame }[] = [];
    let accepts = false;
    const visit = (node: Node, frame: Frame): void => {
      const key = frame.id * MAX_NODES + node.id;
      if (seen.has(key)) return;
      seen.add(key);
      if (node.bytes.length > 0) reading.push({ node, frame });
      for (const next of node.free) threads.push({ node: next, frame });
      for (const { rule, back } of node.calls) {
        threads.push({ node: this.#entries.get(rule)!, frame: this.#call(back, frame) });
      }
      if (!node.isEnd) return;
      if (frame.back && frame.below) threads.push({ node: frame.back, frame: frame.below });
      else accepts = true;
    };
    for (let thread = threads.pop(); thread; thread = threads.pop()) visit(thread.node, thread.frame);
    reading.sort((a, b) => a.node.id - b.node.id || a.frame.id - b.frame.id);
    const key = reading.map(({ node, frame }) => `${node.id}.${frame.id}`).join() + (accepts ? "!" : "");
    const known = this.#states.get(key);
    if (known) return known;
    if (this.#states.size >= MAX_STATES) this.#forget();
    const state: State = { threads: reading, accepts, next: [] };
    this.#states.set(key, state);
    return state;
  }

  /** Lets go of what is remembered; answers under way keep their own. */
  #forget(): void {
    this.#states.clear();
    this.#root.above.clear();
    this.start.next.length = 0;
  }
}
