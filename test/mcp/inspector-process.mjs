// Runs the command line of the official MCP Inspector once for each message, without a new process for each call.
const { runCli } = await import(process.argv[2]);

process.on('message', async (args) => {
  const written = { stdout: '', stderr: '' };
  const restore = ['stdout', 'stderr'].map((name) => {
    const stream = process[name];
    const write = stream.write;
    stream.write = (chunk, ...rest) => {
      written[name] += String(chunk);
      rest.findLast((each) => typeof each === 'function')?.();
      return true;
    };
    return () => (stream.write = write);
  });
  let exitCode = 0;
  try {
    await runCli([process.execPath, 'mcp-inspector', ...args]);
  } catch (error) {
    exitCode = typeof error?.exitCode === 'number' && error.exitCode !== 0 ? error.exitCode : 1;
    written.stderr += String(error?.stack ?? error);
  }
  for (const each of restore) each();
  process.send({ exitCode, ...written });
});
process.send('ready');
