import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../lib/atomic-file.js';

/**
 * Keeps secrets out of argument lists, which every user of a machine can read (proc(5), cmdline). acme.sh stays
 * unmodified: its first line runs it with `env sh`, and this `sh` is the first in its PATH. It loads functions, then
 * the script. The functions replace the programs to which acme.sh passes secrets as arguments:
 *
 * - curl: passes headers (the token of the DNS provider) as a configuration on standard input.
 * - sed: passes the script that sets a value in a file of acme.sh through a file descriptor.
 * - openssl: computes the HMAC (external account binding) in node, and passes the key in the environment.
 *
 * The functions also add the HMAC key of the external account to the arguments of acme.sh inside the shell, where they
 * are in no argument list.
 */
const SH = `#!/bin/sh
# Written by haproxy-suite: see src/certificates/acme/acme-shim.ts.
case "$1" in
  */*) ;;
  *) exec /bin/sh "$@" ;;
esac
script=$1
shift
exec /bin/sh -c '. "$HAPROXY_SUITE_SHIM/functions"; . "$0"' "$script" "$@"
`;

const FUNCTIONS = `# Written by haproxy-suite: see src/certificates/acme/acme-shim.ts.
hs_quote() {
  hs_quoted=
  hs_rest=$1
  while :; do
    hs_plain=\${hs_rest%%[\\"\\\\]*}
    hs_quoted=$hs_quoted$hs_plain
    hs_rest=\${hs_rest#"$hs_plain"}
    case "$hs_rest" in
      '') return ;;
      \\"*) hs_quoted=$hs_quoted'\\"' ;;
      *) hs_quoted=$hs_quoted'\\\\' ;;
    esac
    hs_rest=\${hs_rest#?}
  done
}
curl() {
  hs_left=$#
  hs_config=
  while [ "$hs_left" -gt 0 ]; do
    if [ "$1" = -H ] && [ "$hs_left" -gt 1 ]; then
      case "$2" in
        '') ;;
        *)
          hs_quote "$2"
          hs_config="$hs_config
header = \\"$hs_quoted\\""
          ;;
      esac
      shift 2
      hs_left=$((hs_left - 2))
    else
      set -- "$@" "$1"
      shift
      hs_left=$((hs_left - 1))
    fi
  done
  if [ -n "$hs_config" ]; then
    printf '%s\\n' "$hs_config" | command curl --config - "$@"
  else
    command curl "$@"
  fi
}
sed() {
  if [ $# -ne 1 ]; then
    command sed "$@"
    return
  fi
  command sed -f /dev/fd/9 9<<HAPROXY_SUITE_END
$1
HAPROXY_SUITE_END
}
openssl() {
  case "$*" in
    dgst\\ -sha256\\ -mac\\ HMAC\\ -macopt\\ hexkey:*)
      hs_hex=\${6#hexkey:}
      hs_out=\${7:-}
      HAPROXY_SUITE_HEX=$hs_hex HAPROXY_SUITE_OUT=$hs_out "$HAPROXY_SUITE_NODE" -e "$HAPROXY_SUITE_HMAC"
      ;;
    *) command openssl "$@" ;;
  esac
}
case " $* " in
  *' --register-account '*)
    if [ -n "$HAPROXY_SUITE_EAB_HMAC" ]; then
      set -- "$@" --eab-kid "$HAPROXY_SUITE_EAB_KID" --eab-hmac-key "$HAPROXY_SUITE_EAB_HMAC"
    fi
    ;;
esac
unset HAPROXY_SUITE_EAB_HMAC
`;

/** The output of `openssl dgst -sha256 -mac HMAC`: raw with -binary, else "HMAC-SHA2-256(stdin)= hex". */
const HMAC =
  "const{createHmac}=require('crypto');const h=createHmac('sha256',Buffer.from(process.env.HAPROXY_SUITE_HEX,'hex'));" +
  "process.stdin.on('data',d=>h.update(d)).on('end',()=>process.stdout.write(process.env.HAPROXY_SUITE_OUT==='-binary'" +
  "?h.digest():'HMAC-SHA2-256(stdin)= '+h.digest('hex')+'\\n'))";

/** Writes the shim into `folder`. */
export async function writeShim(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFileAtomic(join(folder, 'functions'), FUNCTIONS, 0o600);
  await writeFileAtomic(join(folder, 'sh'), SH, 0o700);
  await chmod(join(folder, 'sh'), 0o700);
}

/** The variables that make acme.sh use the shim in `folder`. `path` is its PATH without the shim. */
export function shimEnvironment(
  folder: string,
  path: string,
  eab: { kid: string; hmacKey: string } | undefined,
): Record<string, string> {
  return {
    PATH: `${folder}:${path}`,
    HAPROXY_SUITE_SHIM: folder,
    HAPROXY_SUITE_NODE: process.execPath,
    HAPROXY_SUITE_HMAC: HMAC,
    ...(eab && { HAPROXY_SUITE_EAB_KID: eab.kid, HAPROXY_SUITE_EAB_HMAC: eab.hmacKey }),
  };
}
