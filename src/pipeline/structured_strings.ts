import { charSet, complement } from "./structured_chars.ts";
import { MANY, PLAIN, PLAIN_SET, quoted } from "./structured_json.ts";
import { type Expression, either, inOrder, literal, NOTHING, oneOf, times } from "./structured_rules.ts";

const DATE = "\\d{4}-(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])";
const TIME = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)";
/** Formats that shape the text; others are notes to the reader, as the standard has it. */
export const FORMATS: Readonly<Record<string, string>> = {
  date: DATE,
  time: TIME,
  "date-time": `${DATE}T${TIME}`,
  uuid: "[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
};

/** Any key but these, and without escapes, which could spell one of them. */
export function otherKey(names: readonly string[]): Expression {
  const node = (rests: readonly string[]): Expression => {
    const starts = [...new Set(rests.filter((rest) => rest !== "").map((rest) => Array.from(rest)[0]!))];
    const others = complement([...complement(PLAIN_SET), ...charSet(starts.join(""))]);
    const options = [inOrder(oneOf(others), times(PLAIN, 0, MANY)), ...(rests.includes("") ? [] : [NOTHING])];
    for (const start of starts) {
      const inner = rests.filter((rest) => rest.startsWith(start)).map((rest) => rest.slice(start.length));
      options.push(inOrder(literal(start), node(inner)));
    }
    return either(...options);
  };
  return quoted(node(names.filter((name) => JSON.stringify(name) === `"${name}"`)));
}
