// How time grows with image size, prompt and context: `node bench/scaling.ts`. A launcher like ttft.ts; the program is
// scaling_main.mts.
(async () => {
  const { runsTypeScript, runOnNode24 } = await import("../src/cli/node24.mjs");
  const args = process.argv.slice(2);
  if (runsTypeScript()) await (await import("./scaling_main.mts")).main(args);
  else runOnNode24([__filename, ...args]);
})();
