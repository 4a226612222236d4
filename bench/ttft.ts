// Time to first token, stage by stage, next to its limits: `node bench/ttft.ts`. This file is CommonJS without a type in it, so
// that Node 20 takes it for JavaScript and can hand over to the Node 24 of the development dependencies. The benchmark itself is
// ttft_main.mts, which exports `main(args)`.
(async () => {
  const { runsTypeScript, runOnNode24 } = await import("../src/cli/node24.mjs");
  const args = process.argv.slice(2);
  if (runsTypeScript()) await (await import("./ttft_main.mts")).main(args);
  else runOnNode24([__filename, ...args]);
})();
