/** What a caller passed in place of something else, in words for an error: its kind, or an object's keys. */
export function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  if (typeof value === "string") return "text";
  if (typeof value === "function") return "a function";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value)) return "a list";
  if (value instanceof URL) return "a URL";
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return "bytes";
  const keys = Object.keys(value);
  return keys.length === 0 ? "an empty object" : `{ ${keys.slice(0, 5).join(", ")}${keys.length > 5 ? ", …" : ""} }`;
}
