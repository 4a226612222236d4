/** An address as errors show it: without credentials, query and fragment, which may be secrets, and without what is inside data. */
export function shownAddress(address: string | URL): string {
  const text = String(address);
  if (/^data:/i.test(text)) return `${text.slice(0, text.search(/[,;]|$/))},…`;
  if (!URL.canParse(text)) return text.replace(/[?#].*$/s, "").replace(/\/\/[^/]*@/, "//");
  const url = new URL(text);
  for (const part of ["username", "password", "search", "hash"] as const) url[part] = "";
  return url.href;
}

/** An error of `fetch`, which repeats the address where it does not like it. */
export function withoutSecrets(error: unknown, address: string | URL): unknown {
  if (!(error instanceof Error) || !error.message.includes(String(address))) return error;
  return new Error(error.message.replaceAll(String(address), shownAddress(address)));
}
