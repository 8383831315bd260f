# Functions for scripts that need an account of AWS: ministack serves one on this machine. To be sourced by bash after
# scripts/lib.sh, with the variables `work` (a folder) and `pids` (the processes to end).
# shellcheck shell=bash

# The account of the person who runs this is never used, whatever the environment and the home directory contain.
for name in $(compgen -e AWS_) $(compgen -e SAM_CLI_) $(compgen -e TF_VAR_); do
  unset "$name"
done
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=eu-central-1 AWS_REGION=eu-central-1
export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true AWS_PAGER=
export SAM_CLI_TELEMETRY=0

# cloud COMMAND...: see scripts/aws/cloud.py.
cloud() {
  .tools/aws/bin/python scripts/aws/cloud.py "$@"
}

# permissions COMMAND...: counts each of its lines as a check.
permissions() {
  local line failed_before=${checks_failed:?} ended=0
  .tools/aws/bin/python scripts/aws/permissions.py "$@" >"${work:?}/permissions" || ended=$?
  while IFS= read -r line; do
    case $line in
      'ok '*) ok "${line#ok }" ;;
      'FAILED '*) failed "${line#FAILED }" ;;
      *) echo "$line" ;;
    esac
  done <"$work/permissions"
  if [[ $ended != 0 && $failed_before == "$checks_failed" ]]; then
    failed "permissions.py $1: it did not run to its end"
  fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

account_is_ready() {
  curl --silent --fail --max-time 5 --output "$work/ready" "$AWS_ENDPOINT_URL/_ministack/ready"
}

# start_account: ministack, at AWS_ENDPOINT_URL. Functions that it runs inherit that variable.
start_account() {
  local port
  port=$(free_port)
  export AWS_ENDPOINT_URL=http://127.0.0.1:$port
  BIND_HOST=127.0.0.1 GATEWAY_PORT=$port IOT_MTLS_ENABLED=0 SFTP_ENABLED=0 MINISTACK_REGION=$AWS_REGION \
    .tools/ministack/bin/ministack >"$work/ministack.log" 2>&1 &
  pids+=("$!")
  wait_until 60 account_is_ready || die "ministack did not start:"$'\n'"$(tail -n 20 "$work/ministack.log")"
}

# start_momento: local Momento with the caches `demo` and `chat`. Leaves MOMENTO_ENDPOINT, MOMENTO_API_KEY and momento_admin.
start_momento() {
  local announcement momento
  exec {momento}< <(exec "$1/momento-local" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --cache demo --cache chat)
  pids+=("$!")
  if ! read -r -t 30 announcement <&"$momento" ||
    [[ ! $announcement =~ gRPC\ on\ (http://127\.0\.0\.1:[0-9]+),\ admin\ on\ (http://127\.0\.0\.1:[0-9]+)$ ]]; then
    die "local Momento did not start: ${announcement-}"
  fi
  export MOMENTO_ENDPOINT=${BASH_REMATCH[1]} MOMENTO_API_KEY=local
  # shellcheck disable=SC2034 # Scripts that source this file use it.
  momento_admin=${BASH_REMATCH[2]}
}

# small FUNCTION FOLDER: puts the debug build of a function into a folder, without what only a debugger needs. The link of a release
# takes a minute or more.
small() {
  mkdir -p "$2"
  strip -o "$2/bootstrap" "${bin:?}/$1"
}

provider_is_ready() {
  curl --silent --fail --max-time 5 --output "$work/ready" "$issuer/jwks.json"
}

# start_provider: a provider of identities. Leaves its address in `issuer`, and the JWT of a person in `proof`.
start_provider() {
  local port
  port=$(free_port)
  issuer=http://127.0.0.1:$port
  mkdir "$work/provider"
  # shellcheck disable=SC2034 # Scripts that source this file use it.
  proof=$(cloud identity "$work/provider" "$issuer")
  python3 -m http.server "$port" --bind 127.0.0.1 --directory "$work/provider" >"$work/provider.log" 2>&1 &
  pids+=("$!")
  wait_until 30 provider_is_ready || die "the provider of identities did not start:"$'\n'"$(<"$work/provider.log")"
}

# ask URL [FLAG...]: sends a request to a URL of an API as curl does, and prints the body and the status. All hosts of ministack have
# one address, and it knows an API by the first part of its name.
ask() {
  local rest=${1#http*://}
  curl --silent --max-time 30 --write-out ' %{http_code}' --header "host: ${rest%%.*}.execute-api.localhost" "${@:2}" \
    "$AWS_ENDPOINT_URL/${rest#*/}" 2>&1 || true
}

# read_into MAP COMMAND...: reads `NAME VALUE` lines of the command into an associative array.
read_into() {
  local -n map=$1
  local key value
  shift
  while read -r key value; do
    # shellcheck disable=SC2004,SC2034 # An associative array of the caller.
    map["$key"]=$value
  done < <("$@")
}
