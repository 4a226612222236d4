// Packs tests and benches for a machine without a network: `node bench/archive.ts`. A launcher like ttft.ts; the program is
// archive_main.mts.
(async () => {
  const { runsTypeScript, runOnNode24 } = await import("../src/cli/node24.mjs");
  const args = process.argv.slice(2);
  if (runsTypeScript()) await (await import("./archive_main.mts")).main(args);
  else runOnNode24([__filename, ...args]);
})();
