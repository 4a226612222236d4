import { InputError } from "../errors.ts";
import {
  ANY,
  anyRule,
  CHAR,
  COLON,
  COMMA,
  enclosed,
  fixedValues,
  inString,
  type Keywords,
  listed,
  MANY,
  quoted,
  STRING,
  TYPES,
  type Type,
  typesOf,
  widened,
} from "./structured_json.ts";
import { integerGrammar, numberGrammar } from "./structured_number.ts";
import { regexGrammar } from "./structured_regex.ts";
import {
  type Expression,
  either,
  type Grammar,
  inOrder,
  literal,
  maybe,
  NOTHING,
  rule,
  times,
} from "./structured_rules.ts";
import { FORMATS, otherKey } from "./structured_strings.ts";

/** A JSON Schema (2020-12): an object of keywords, or true for any value. */
export type JsonSchema = boolean | { readonly [keyword: string]: unknown };

/** Say nothing about what is valid. */
const ANNOTATIONS = new Set(
  "$schema $id $anchor $comment $defs definitions title description default examples deprecated readOnly writeOnly".split(
    " ",
  ),
);
/** What is understood, by the type it is about. Any other keyword is refused: the answer might not be valid. */
const KEYWORDS: Readonly<Record<Type, readonly string[]>> = {
  null: [],
  boolean: [],
  integer: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  string: ["minLength", "maxLength", "pattern", "format"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  object: ["properties", "required", "additionalProperties"],
};
const isObject = (value: unknown): value is Keywords =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * A grammar whose texts are all valid JSON, and valid by the schema.
 *
 * @throws InputError naming the part of the schema that is malformed or not supported
 */
export function schemaGrammar(schema: unknown): Grammar {
  return new SchemaWriter(schema).write();
}

class SchemaWriter {
  readonly #root: unknown;
  readonly #rules = new Map<string, Expression>();
  /** Addresses whose rules are being written, with no text before this point. */
  #open = new Set<string>();

  constructor(root: unknown) {
    this.#root = root;
  }

  write(): Grammar {
    this.#reference("#", "#");
    return new Map([...this.#rules, anyRule()]);
  }

  #refuse(path: string, what: string, hint?: string): never {
    throw new InputError(`json_schema: ${path}: ${what}`, hint === undefined ? {} : { hint });
  }

  /** The rule of the schema at an address; made when first asked for, so schemas may contain themselves. */
  #reference(target: unknown, path: string): Expression {
    if (typeof target !== "string" || !/^#(\/|$)/.test(target)) {
      this.#refuse(path, `$ref: expected "#" or "#/…" within the schema, got ${JSON.stringify(target)}`);
    }
    if (this.#open.has(target)) this.#refuse(path, `$ref: ${JSON.stringify(target)} contains itself directly`);
    if (this.#rules.has(target)) return rule(target);
    let schema: unknown = this.#root;
    for (const part of target.split("/").slice(1)) {
      const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~");
      schema =
        (isObject(schema) || Array.isArray(schema)) && Object.hasOwn(schema, key)
          ? (schema as Keywords)[key]
          : undefined;
    }
    if (schema === undefined) this.#refuse(path, `$ref: nothing at ${JSON.stringify(target)}`);
    this.#rules.set(target, NOTHING);
    this.#open.add(target);
    this.#rules.set(target, this.#value(schema, target));
    this.#open.delete(target);
    return rule(target);
  }

  /** What a part of an array or object may be: there is text before it. */
  #inner(schema: unknown, path: string): Expression {
    const open = this.#open;
    this.#open = new Set();
    const inner = this.#value(schema, path);
    this.#open = open;
    return inner;
  }

  #value(schema: unknown, path: string): Expression {
    if (schema === true) return ANY;
    if (schema === false) this.#refuse(path, "false allows nothing");
    if (!isObject(schema)) this.#refuse(path, `expected an object of keywords, got ${JSON.stringify(schema)}`);
    const used = Object.keys(schema).filter((key) => !ANNOTATIONS.has(key));
    for (const keyword of ["$ref", "const", "enum", "anyOf", "oneOf", "allOf"]) {
      if (!used.includes(keyword)) continue;
      const beside = keyword === "const" || keyword === "enum" ? ["type"] : [];
      const others = used.filter((key) => key !== keyword && !beside.includes(key));
      if (others.length > 0) this.#refuse(path, `${others[0]} beside ${keyword} is not supported`);
      return this.#combined(keyword, schema, path);
    }
    const types = this.#types(schema, path);
    const understood = new Set(["type", ...types.flatMap((type) => KEYWORDS[type])]);
    const odd = used.find((key) => !understood.has(key));
    if (odd) this.#refuse(path, `keyword ${odd} is not supported${schema.type ? "" : " without type"}`);
    if (used.length === 0) return ANY;
    return either(...types.map((type) => this.#typed(type, schema, path)));
  }

  #types({ type, ...schema }: Keywords, path: string): Type[] {
    const about = TYPES.filter((name) => name !== "integer" && KEYWORDS[name].some((key) => key in schema));
    const named = type === undefined ? (about.length > 0 ? about : TYPES) : [type].flat();
    const unknown = named.find((name) => !TYPES.includes(name as Type));
    if (unknown !== undefined || named.length === 0) {
      this.#refuse(path, `type: expected ${TYPES.join(", ")}, got ${JSON.stringify(unknown)}`);
    }
    return [...new Set(named as Type[])];
  }

  #combined(keyword: string, schema: Keywords, path: string): Expression {
    const value = schema[keyword];
    if (keyword === "$ref") return this.#reference(value, path);
    if (keyword === "const") return this.#literals([value], schema, path);
    if (!Array.isArray(value) || value.length === 0)
      this.#refuse(path, `${keyword}: expected a list that is not empty`);
    if (keyword === "enum") return this.#literals(value, schema, path);
    if (keyword === "allOf" && value.length > 1)
      this.#refuse(path, "allOf of several is not supported", "Merge them into one.");
    if (keyword === "oneOf" && !value.every((a, i) => value.slice(i + 1).every((b) => this.#disjoint(a, b)))) {
      this.#refuse(
        path,
        "oneOf: not evident that no value is valid by two of them",
        "Use anyOf, or a property whose const differs.",
      );
    }
    return either(...value.map((option, i) => this.#value(option, `${path}/${keyword}/${i}`)));
  }

  #literals(values: readonly unknown[], schema: Keywords, path: string): Expression {
    const types = "type" in schema ? this.#types(schema, path) : TYPES;
    const typed = values.filter((value) => typesOf(value).some((type) => types.includes(type)));
    if (typed.length === 0) this.#refuse(path, `none of ${JSON.stringify(values)} is of type ${types.join(" or ")}`);
    return either(...typed.map((value) => literal(JSON.stringify(value))));
  }

  /** True where it is evident that no value is valid by both: other types, or a required property with other values. */
  #disjoint(a: unknown, b: unknown): boolean {
    const [x, y] = [this.#resolve(a), this.#resolve(b)];
    if (!x || !y) return false;
    const [left, right] = [fixedValues(x), fixedValues(y)];
    if (left && right) return !left.some((value) => right.includes(value));
    const types = (schema: Keywords, fixed: readonly string[] | undefined): readonly Type[] =>
      fixed
        ? fixed.flatMap((value) => typesOf(JSON.parse(value)))
        : "type" in schema
          ? this.#types(schema, "#").flatMap(widened)
          : TYPES;
    if (!types(x, left).some((type) => types(y, right).includes(type))) return true;
    const required = (schema: Keywords): readonly unknown[] => (Array.isArray(schema.required) ? schema.required : []);
    return required(x).some((name) => {
      const [p, q] = [x, y].map((schema) =>
        isObject(schema.properties) ? schema.properties[name as string] : undefined,
      );
      const [m, n] = [p, q].map((schema) => (isObject(schema) ? fixedValues(schema) : undefined));
      return required(y).includes(name) && m && n && !m.some((value) => n.includes(value));
    });
  }

  /** A schema behind its references, by name. */
  #resolve(schema: unknown): Keywords | undefined {
    if (!isObject(schema)) return undefined;
    const name = typeof schema.$ref === "string" ? /^#\/(\$defs|definitions)\/([^/~%]+)$/.exec(schema.$ref) : null;
    if (!name) return "$ref" in schema ? undefined : schema;
    const group = isObject(this.#root) ? this.#root[name[1]!] : undefined;
    return isObject(group)
      ? this.#resolve(
          isObject(group[name[2]!]) && !("$ref" in (group[name[2]!] as Keywords)) ? group[name[2]!] : undefined,
        )
      : undefined;
  }

  #typed(type: Type, schema: Keywords, path: string): Expression {
    switch (type) {
      case "null":
        return literal("null");
      case "boolean":
        return either(literal("true"), literal("false"));
      case "integer":
        return integerGrammar(this.#numbers(schema, KEYWORDS.integer, path));
      case "number":
        return numberGrammar(this.#numbers(schema, KEYWORDS.number, path));
      case "string":
        return this.#string(schema, path);
      case "array":
        return this.#array(schema, path);
      case "object":
        return this.#object(schema, path);
    }
  }

  #numbers(
    schema: Keywords,
    names: readonly string[],
    path: string,
    least = Number.NEGATIVE_INFINITY,
  ): Record<string, number> {
    const found: Record<string, number> = {};
    for (const name of names) {
      const value = schema[name];
      if (value === undefined) continue;
      if (!Number.isSafeInteger(value) || (value as number) < least || Math.abs(value as number) > 1e12) {
        this.#refuse(path, `${name}: expected an integer of at most 12 digits, got ${JSON.stringify(value)}`);
      }
      found[name] = value as number;
    }
    return found;
  }

  #string(schema: Keywords, path: string): Expression {
    const { minLength: from = 0, maxLength: to = Number.POSITIVE_INFINITY } = this.#numbers(
      schema,
      ["minLength", "maxLength"],
      path,
      0,
    );
    const { pattern, format } = schema;
    const shape = pattern ?? (typeof format === "string" ? FORMATS[format] : undefined);
    if (from > to) this.#refuse(path, `minLength ${from} is above maxLength ${to}`);
    if (shape === undefined) {
      if (from === 0 && to === Number.POSITIVE_INFINITY) return STRING;
      return quoted(times(CHAR, from, to));
    }
    if (typeof shape !== "string") this.#refuse(path, `pattern: expected a string, got ${JSON.stringify(shape)}`);
    const lengths = "minLength" in schema || "maxLength" in schema;
    if (lengths || (pattern !== undefined && typeof format === "string" && format in FORMATS)) {
      this.#refuse(
        path,
        `${pattern === undefined ? "format" : "pattern"} beside ${lengths ? "lengths" : "format"} is not supported`,
      );
    }
    try {
      return quoted(regexGrammar(shape, inString));
    } catch (cause) {
      if (cause instanceof InputError) this.#refuse(path, `pattern: ${cause.message}`);
      throw cause;
    }
  }

  #array(schema: Keywords, path: string): Expression {
    const { prefixItems: prefix = [], items = true } = schema;
    if (!Array.isArray(prefix)) this.#refuse(path, "prefixItems: expected a list");
    const limits = this.#numbers(schema, ["minItems", "maxItems"], path, 0);
    const from = limits.minItems ?? 0;
    const to = Math.min(
      limits.maxItems ?? Number.POSITIVE_INFINITY,
      items === false ? prefix.length : Number.POSITIVE_INFINITY,
    );
    if (from > to) this.#refuse(path, `at least ${from} items are asked for, and at most ${to} allowed`);
    if (to === 0) return enclosed("[", NOTHING, "]");
    const rest = to > prefix.length ? this.#inner(items, `${path}/items`) : NOTHING;
    const given = Math.max(1, prefix.length);
    // What may follow the first i items, from the last backwards.
    let tail = to > given ? times(inOrder(COMMA, rest), Math.max(0, from - given), to - given) : NOTHING;
    let first = rest;
    for (let i = Math.min(prefix.length, to) - 1; i >= 0; i--) {
      first = this.#inner(prefix[i], `${path}/prefixItems/${i}`);
      if (i > 0) tail = either(inOrder(COMMA, first, tail), ...(i >= from ? [NOTHING] : []));
    }
    const all = inOrder(first, tail);
    return enclosed("[", from > 0 ? all : maybe(all), "]");
  }

  /** Properties in the order of the schema; those it does not name only where `additionalProperties` is given. */
  #object(schema: Keywords, path: string): Expression {
    const { properties = {}, required = [], additionalProperties: more = !("properties" in schema) } = schema;
    if (!isObject(properties)) this.#refuse(path, "properties: expected an object");
    if (!Array.isArray(required)) this.#refuse(path, "required: expected a list of names");
    const undeclared = required.filter((name) => !Object.hasOwn(properties, name));
    if (undeclared.length > 0 && schema.additionalProperties === false) {
      this.#refuse(path, `required: ${JSON.stringify(undeclared[0])} is not in properties, and no others are allowed`);
    }
    const names = [...Object.keys(properties), ...undeclared];
    const members = names.map((name) => {
      const value = Object.hasOwn(properties, name) ? properties[name] : (schema.additionalProperties ?? true);
      return inOrder(literal(JSON.stringify(name)), COLON, this.#inner(value, `${path}/properties/${name}`));
    });
    const other =
      more === false ? undefined : inOrder(otherKey(names), COLON, this.#inner(more, `${path}/additionalProperties`));
    // What may follow when the properties from i on are to come: at the beginning, and after another property.
    let head = other ? maybe(listed(other)) : NOTHING;
    let tail = other ? times(inOrder(COMMA, other), 0, MANY) : NOTHING;
    for (let i = names.length - 1; i >= 0; i--) {
      const optional = !required.includes(names[i]);
      head = either(inOrder(members[i]!, tail), ...(optional ? [head] : []));
      tail = either(inOrder(COMMA, members[i]!, tail), ...(optional ? [tail] : []));
    }
    return enclosed("{", head, "}");
  }
}
