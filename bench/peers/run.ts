// Other engines on the same shapes and the same adapter: `node bench/peers/run.ts`. A launcher like ttft.ts; the program is
// run_main.mts.
(async () => {
  const { runsTypeScript, runOnNode24 } = await import("../../src/cli/node24.mjs");
  const args = process.argv.slice(2);
  if (runsTypeScript()) await (await import("./run_main.mts")).main(args);
  else runOnNode24([__filename, ...args]);
})();
