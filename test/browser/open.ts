import type { TestContext } from "node:test";
import type { Page } from "playwright-core";
import { type Launched, launchChromium } from "./launch.ts";
import { serveSources } from "./server.ts";

/** A browser, and the server of this repository's sources for it. */
export interface Opened extends Pick<Launched, "browser" | "path"> {
  /** Of the server, such as `http://127.0.0.1:1234`. */
  readonly origin: string;
}

/** Opens a browser for a test and closes it after; where none starts, skips the test (`REQUIRE_BROWSER` makes it fail). */
export async function openBrowser(context: TestContext): Promise<Opened | undefined> {
  let launched: Launched;
  try {
    launched = await launchChromium();
  } catch (error) {
    if (process.env.REQUIRE_BROWSER) throw error;
    context.skip(`no browser starts here: ${(error as Error).message}`);
    return undefined;
  }
  const server = await serveSources();
  context.after(async () => {
    await launched.close();
    await server.close();
  });
  return { ...launched, origin: server.origin };
}

/** A page of this HTML, which may import the repository's sources. */
export async function openPage({ browser, origin }: Opened, html: string): Promise<Page> {
  const page = await browser.newPage();
  await page.route(`${origin}/page`, (route) => route.fulfill({ contentType: "text/html", body: html }));
  await page.goto(`${origin}/page`);
  return page;
}
