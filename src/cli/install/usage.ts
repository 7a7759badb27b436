const COMMON = `  --dry-run    print the plan and change nothing
  --yes        do not ask (a question is asked only on a terminal)
  --json       print one JSON object: what was changed, or why nothing was
  --root DIR   the files of another root, for example of an image: write them, start nothing
  --help       show this text

Safe to run twice. A run that was interrupted is continued by the next one.
Exit codes: 0 done, or nothing to do; 1 refused (nothing was changed) or failed; 2 wrong use.
`;

export const USAGE = {
  install: `haproxy-suite install --systemd | --quadlet | --managed

Installs the suite as a service on Debian or Ubuntu. Prints the plan first. Needs root.

  --systemd    systemd runs HAProxy (haproxy.service) and the suite (haproxy-mcp.service)
  --quadlet    Podman runs HAProxy by a Quadlet, systemd runs the suite
  --managed    the suite runs HAProxy; one unit, haproxy-mcp.service

  --image NAME for --quadlet: the image of HAProxy, with its registry
  --take-over  stop the haproxy.service of Debian although its haproxy.cfg was changed
${COMMON}`,
  upgrade: `haproxy-suite upgrade

Run this command of the new version: node NEW/dist/main.js upgrade. It copies the program, writes the units again and
starts the suite again. HAProxy serves meanwhile. The former version stays on disk, and the command says how to go back.

  --image NAME for a Quadlet: another image of HAProxy
${COMMON}`,
  uninstall: `haproxy-suite uninstall

Stops the suite and its HAProxy and removes what "install" and "upgrade" brought. The data in /opt/haproxy stay, and so
does each file that was changed.

  --keep-data  the default: the data stay
${COMMON}`,
} as const;
