#!/bin/bash
# Runs the test suites, one after the other, and closes with one line: N passed, M failed, K skipped.
#
#   scripts/test.sh              all stages
#   scripts/test.sh rust eunit   only these: rust, eunit, properties, ct
#
# A stage that fails does not stop the others. Each stage's own closing lines stay visible.
set -u
cd "$(dirname "$0")/.." || exit 1
# A shell has its background jobs ignore Ctrl-C, and so would the programs that tests interrupt.
if [ -z "${TOPOS_TEST_SIGNALS:-}" ] && env --default-signal=INT true 2>/dev/null; then
    exec env --default-signal=INT TOPOS_TEST_SIGNALS=default bash scripts/test.sh "$@"
fi
# Without a locale Erlang takes file names and variables for Latin-1, and the tests use names beyond it.
case $(locale charmap 2>/dev/null) in
    UTF-8) ;;
    *) export LC_ALL=C.UTF-8 ;;
esac
logs=.make/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0 broken=() flaky=()
stages=("$@")
[ $# -gt 0 ] || stages=(rust eunit properties ct)

strip() { sed -E 's/\x1b\[[0-9;]*[A-Za-z]//g'; }

# stage NAME COMMAND...: runs it, shows and keeps its output. A non-zero exit whose log counts no failure counts as one.
stage() {
    local name=$1 started=$SECONDS status before=$failed counts
    shift
    printf '\n== %s: %s\n' "$name" "$*"
    "$@" 2>&1 | tee "$logs/$name.raw"
    status=${PIPESTATUS[0]}
    strip <"$logs/$name.raw" >"$logs/$name.log"
    read -ra counts < <(sh scripts/test-counts.sh "$name" "$logs/$name.log")
    passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
    if [ "$status" -ne 0 ]; then
        [ "$failed" -gt "$before" ] || failed=$((failed + 1))
        broken+=("$name")
    fi
    printf '== %s: %d s, exit %d\n' "$name" "$((SECONDS - started))" "$status"
}

# Cases on real nodes share a machine with whatever else it does, and OTP 25 has a race that ends a VM now and then (an `ets:delete' against a process
# that ends, mended upstream). So a few that failed are run once more, alone, and what passes then is told as flaky, at the end too. More are a failure.
again() {
    local suite group case where still=0
    # Where a suite or a group could not begin or end, more is wrong than a case.
    ! grep -q ' -$' "$TOPOS_CT_FAILED" && [ "$(wc -l <"$TOPOS_CT_FAILED")" -le 3 ] || return
    while read -r suite group case; do
        where=(--suite "ct_suites/$suite" --case "$case")
        [ "$group" = - ] || where+=(--group "$group")
        printf '\n== ct, once more: %s %s %s\n' "$suite" "$group" "$case"
        if TOPOS_CT_FAILED='' rebar3 ct --readable=false "${where[@]}" </dev/null; then
            flaky+=("$suite $group $case")
        else
            still=$((still + 1))
        fi
    done <"$TOPOS_CT_FAILED"
    [ "$still" -eq 0 ] || return
    passed=$((passed + failed_in_ct)) failed=$((failed - failed_in_ct))
    unset 'broken[-1]'
}

# excerpt STAGE: what failed in it, once more, so that it stands at the end of the output too.
excerpt() {
    local from after=6
    case $1 in
        rust) from='^ +(FAIL|SIGABRT|SIGSEGV|TIMEOUT) |^test .*FAILED|^error' ;;
        # The line of the property's name ends in what PropEr printed of its cases; the counterexample follows, then its shrunk form.
        properties) from='!$|Failed: |Error: |, [1-9][0-9]* failed' after=20 ;;
        *) from='' ;;
    esac
    printf '\n== what failed in %s (all of it: %s/%s.log)\n' "$1" "$logs" "$1"
    if [ "$1" = ct ]; then
        # What topos_ct_report closes with; without it the run ended before it could begin or end.
        grep -aqE '^[0-9]+ failed:' "$logs/ct.log" || tail -n 40 "$logs/ct.log" | cut -c1-240
        sed -nE '/^[0-9]+ failed:/,$p' "$logs/ct.log" | cut -c1-240 | head -n 120
    elif [ -n "$from" ]; then
        grep -aE -A "$after" "$from" "$logs/$1.log" | cut -c1-240 | tail -n 60
    else
        sed -n '/^Failures:/,$p' "$logs/$1.log" | cut -c1-240 | head -n 40
    fi
}

for name in "${stages[@]}"; do
    case $name in
        rust)
            if cargo nextest --version >/dev/null 2>&1; then
                stage rust cargo nextest run --workspace --locked --no-fail-fast --status-level fail --final-status-level flaky
                # .config/nextest.toml says which tests are tried twice.
                while read -r line; do flaky+=("$line"); done < <(grep -aE '^ +FLAKY ' "$logs/rust.log" | sed -E 's/^.*\] +(\([0-9]+\/[0-9]+\) )?//' | sort -u)
            else
                stage rust cargo test --workspace --locked --no-fail-fast
            fi
            ;;
        eunit) stage eunit rebar3 eunit ;;
        properties) stage properties sh scripts/properties.sh ;;
        ct)
            export TOPOS_CT_FAILED=$PWD/$logs/ct.failed
            : >"$TOPOS_CT_FAILED"
            failed_before=$failed
            stage ct rebar3 ct --readable=false
            failed_in_ct=$((failed - failed_before))
            [ -s "$TOPOS_CT_FAILED" ] && { excerpt ct; again; }
            ;;
        *)
            echo "test.sh: there is no stage '$name'; the stages are rust, eunit, properties, ct" >&2
            exit 2
            ;;
    esac
done

for name in "${broken[@]}"; do excerpt "$name"; done
echo
sh scripts/engines.sh
for case in "${flaky[@]}"; do echo "flaky: $case failed, and passed when it ran once more (why: $logs)"; done
[ ${#broken[@]} -eq 0 ] || echo "failed stages: ${broken[*]} (logs in $logs)"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ ${#broken[@]} -eq 0 ]
