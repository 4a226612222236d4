// FastVLM against LLaVA-OneVision's shape in one engine: `node bench/headline.ts`. A launcher like ttft.ts; the program is
// headline_main.mts.
(async () => {
  const { runsTypeScript, runOnNode24 } = await import("../src/cli/node24.mjs");
  const args = process.argv.slice(2);
  if (runsTypeScript()) await (await import("./headline_main.mts")).main(args);
  else runOnNode24([__filename, ...args]);
})();
