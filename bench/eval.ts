// Accuracy on the held-out set: `node bench/eval.ts`. A launcher like ttft.ts; the program is eval_main.mts.
(async () => {
  const { runsTypeScript, runOnNode24 } = await import("../src/cli/node24.mjs");
  const args = process.argv.slice(2);
  if (runsTypeScript()) await (await import("./eval_main.mts")).main(args);
  else runOnNode24([__filename, ...args]);
})();
