/** argv → command. A worker has an entry of its own, so that it loads nothing that only commands need. */
if (process.argv[2] === "worker") {
  const { runWorker } = await import("./app/worker.ts");
  runWorker();
} else {
  const { run } = await import("./cli/main.ts");
  await run(process.argv);
}
