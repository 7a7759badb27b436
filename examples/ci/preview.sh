#!/usr/bin/env bash
# Puts the preview of a branch behind HAProxy, or takes it away. Needs bash, curl, jq and sha256sum.
#
#   preview.sh up BRANCH IP [PORT]   prints the URL when the preview is healthy
#   preview.sh down BRANCH           also if it is gone already
#   preview.sh name BRANCH           prints the domain
#
# HAPROXY_SUITE_URL    address of the suite, such as https://suite.example.com:8000
# HAPROXY_SUITE_TOKEN  a token that may change the domains below PREVIEW_DOMAIN: role operate, domains *.preview.example.com
# PREVIEW_DOMAIN       the domain below which previews live, such as preview.example.com
# PREVIEW_EXPIRES_IN   when a preview that nobody puts again is removed; default 7d
# PREVIEW_TIMEOUT      most seconds until it is healthy, 1 to 3600; default 60
# PREVIEW_SCHEME       scheme of the printed URL; default https
#
# It is safe to run twice: the same branch has the same domain, and the time to its expiry begins anew.
# Exit codes: 0 done; 1 refused or not healthy, with the reason on stderr; 2 wrong usage.
set -euo pipefail

usage() {
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "$0" >&2
  exit 2
}

need() {
  local name=$1
  [ -n "${!name:-}" ] || { echo "preview.sh: set $name." >&2; exit 2; }
}

# The domain of a branch. A name that must be changed or cut gets a part of its hash, so that feature/a and feature-a differ.
domain_of() {
  local branch=$1 label
  label=$(printf '%s' "$branch" | LC_ALL=C tr 'A-Z' 'a-z' | LC_ALL=C tr -c 'a-z0-9' '-')
  label=${label#"${label%%[!-]*}"}
  if [ "$label" != "$branch" ] || [ ${#label} -gt 63 ] || [ "${label%-}" != "$label" ]; then
    label=${label:0:54}
    label=${label%"${label##*[!-]}"}
    label="${label:-branch}-$(printf '%s' "$branch" | sha256sum | cut -c1-8)"
  fi
  printf '%s.%s\n' "$label" "$PREVIEW_DOMAIN"
}

# Sends a request and prints its body. The token goes through a file descriptor, so that no process list shows it.
call() {
  local method=$1 path=$2 body=${3:-} answer status
  local -a data=()
  [ -z "$body" ] || data=(--header 'content-type: application/json' --data-binary "$body")
  answer=$(curl --silent --show-error --max-time 3700 --request "$method" "${data[@]}" --write-out '\n%{http_code}' \
    --header @<(printf 'authorization: Bearer %s\n' "$HAPROXY_SUITE_TOKEN") "${HAPROXY_SUITE_URL%/}/api/v1$path")
  status=${answer##*$'\n'}
  answer=${answer%$'\n'*}
  if [ "$status" -ge 400 ]; then
    printf 'preview.sh: %s %s: %s %s\n' "$method" "$path" "$status" \
      "$(jq -r '"\(.code): \(.detail) (request \(.request_id))"' <<<"$answer" 2>/dev/null || printf '%s' "$answer")" >&2
    return 1
  fi
  printf '%s\n' "$answer"
}

[ $# -ge 2 ] || usage
need PREVIEW_DOMAIN
command=$1
domain=$(domain_of "$2")
[ "$command" = name ] || { need HAPROXY_SUITE_URL; need HAPROXY_SUITE_TOKEN; }

case "$command/$#" in
  name/2) echo "$domain" ;;
  up/3 | up/4)
    body=$(jq -cn --arg branch "$2" --arg ip "$3" --argjson port "${4:-80}" --arg expires "${PREVIEW_EXPIRES_IN:-7d}" \
      '{servers: [{ip: $ip, http_port: $port}], labels: {preview: "true", branch: $branch[:255]}, expires_in: $expires}')
    put=$(call PUT "/domains/$domain" "$body")
    jq -r '"\(.domain): \(.result), removed at \(.expires_at // "no time")"' <<<"$put" >&2
    healthy=$(call POST "/domains/$domain/wait-healthy" "{\"timeout\":${PREVIEW_TIMEOUT:-60}}")
    if ! jq -e '.status == "healthy"' <<<"$healthy" >/dev/null; then
      jq -r '"preview.sh: \(.domain) is \(.status): \(.reason // "see its health check")"' <<<"$healthy" >&2
      exit 1
    fi
    echo "${PREVIEW_SCHEME:-https}://$domain/"
    ;;
  down/2)
    call DELETE "/domains/$domain?missing_ok=true" | jq -r 'if .removed then "\(.domain): removed" else "\(.domain): was gone" end' >&2
    ;;
  *) usage ;;
esac
