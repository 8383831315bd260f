# Functions for the end-to-end scripts: checks, waiting, and ending processes. To be sourced by bash.
# shellcheck shell=bash

checks_passed=0
checks_failed=0

ok() {
  echo "ok $1"
  checks_passed=$((checks_passed + 1))
}

# failed CHECK [DETAILS]
failed() {
  echo "FAILED $1"
  if [[ -n ${2-} ]]; then
    echo "    ${2//$'\n'/$'\n'    }"
  fi
  checks_failed=$((checks_failed + 1))
}

# expect CHECK TEXT PATTERN: TEXT matches the glob PATTERN.
expect() {
  # shellcheck disable=SC2053 # The right side is a pattern.
  if [[ $2 == $3 ]]; then
    ok "$1"
  else
    failed "$1" "wanted: $3"$'\n'"got:    $2"
  fi
}

# Prints the closing line. Fails if a check failed, or if no check ran.
summary() {
  echo "$checks_passed passed, $checks_failed failed"
  [[ $checks_failed == 0 && $checks_passed != 0 ]]
}

die() {
  echo "$(basename "$0"): $1" >&2
  exit 1
}

# need COMMAND...
need() {
  local command
  for command in "$@"; do
    command -v "$command" >/dev/null || die "$command is not installed"
  done
}

# wait_until SECONDS COMMAND...: polls, and fails after that time.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    if ((SECONDS >= deadline)); then
      return 1
    fi
    sleep 0.1
  done
}

# is_running PID: true unless the process has ended or is a zombie.
is_running() {
  local state
  state=$(ps -o stat= -p "$1" 2>/dev/null) && [[ $state != Z* ]]
}

none_is_running() {
  local pid
  for pid in "$@"; do
    if is_running "$pid"; then
      return 1
    fi
  done
}

# descendants PID: its children and theirs, one per line.
descendants() {
  local child
  for child in $(pgrep -P "$1"); do
    echo "$child"
    descendants "$child"
  done
}

# end_all PID...: ends these and their descendants, with SIGTERM and after 5 s with SIGKILL. Never fails.
end_all() {
  local pid all=()
  for pid in "$@"; do
    all+=("$pid")
    mapfile -t -O "${#all[@]}" all < <(descendants "$pid")
  done
  if ((${#all[@]} == 0)); then
    return
  fi
  kill -TERM "${all[@]}" 2>/dev/null || true
  wait_until 5 none_is_running "${all[@]}" || kill -KILL "${all[@]}" 2>/dev/null || true
}
