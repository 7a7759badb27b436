/**
 * The completion scripts. Each asks `haproxy-suite completion --words` for the candidates of the word at the cursor, one
 * a line, so that a new command needs no new script.
 */
const BASH = `_haproxy_suite() {
  local line quoted
  COMPREPLY=()
  while IFS= read -r line; do
    printf -v quoted '%q' "$line"
    COMPREPLY+=("$quoted")
  done < <("\${COMP_WORDS[0]}" completion --words "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _haproxy_suite haproxy-suite
`;

const ZSH = `#compdef haproxy-suite
_haproxy_suite() {
  local -a candidates
  candidates=("\${(@f)$("\${words[1]}" completion --words "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "\${candidates[1]}" ]]; then compadd -- "\${candidates[@]}"; else _files; fi
}
if [[ "\${funcstack[1]}" == _haproxy_suite ]]; then _haproxy_suite "$@"; else compdef _haproxy_suite haproxy-suite; fi
`;

const FISH = `function __haproxy_suite_candidates
  set -l words (commandline -opc) (commandline -ct)
  set -l candidates ($words[1] completion --words $words[2..-1] 2>/dev/null)
  if set -q candidates[1]
    printf '%s\\n' $candidates
  else
    __fish_complete_path $words[-1]
  end
end
complete -c haproxy-suite -f -a '(__haproxy_suite_candidates)'
`;

export const COMPLETION_SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH };
