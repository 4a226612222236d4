import pc from "picocolors";
import { FastVLMError } from "../errors.ts";

/** An error for a person: what is wrong and the way out, or where a defect of the program shows. */
export function describe(error: unknown): string {
  if (!(error instanceof FastVLMError)) {
    return `${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`;
  }
  const hint = error.hint ? `${pc.dim("hint:")}  ${error.hint}\n` : "";
  return `${pc.red("error:")} ${error.message}\n${hint}`;
}
