#!/bin/sh
# Reads what the runner of a stage closed with: scripts/test-counts.sh STAGE LOG prints "PASSED FAILED SKIPPED".
set -eu
log=$2

# sum REGEX [FILE]: adds up the number in every match; none is 0. A file that cannot be read is an error. A full stop is written [.] here.
sum() {
    LC_ALL=C awk -v regex="$1" '
        {
            while (match($0, regex)) {
                found = substr($0, RSTART, RLENGTH)
                $0 = substr($0, RSTART + RLENGTH)
                match(found, /[0-9]+/)
                total += substr(found, RSTART, RLENGTH)
            }
        }
        END { print total + 0 }' "${2:-$log}"
}

case $1 in
    rust)
        # The summary of nextest; without it each binary of `cargo test` has a line.
        lines=$log.summary
        grep -aE '^ +Summary ' "$log" >"$lines" || cp "$log" "$lines"
        passed=$(sum '[0-9]+ passed' "$lines")
        failed=$(sum '[0-9]+ failed' "$lines")
        skipped=$(sum '[0-9]+ (skipped|ignored)' "$lines")
        rm -f "$lines"
        ;;
    eunit)
        # EUnit calls a group cancelled whose generator or set-up failed.
        failed=$(($(sum '[0-9]+ failures?') + $(sum '[0-9]+ cancelled')))
        passed=$(($(sum '^ *[0-9]+ tests?, ') - failed))
        skipped=$(sum '[0-9]+ skipped')
        ;;
    properties)
        passed=$(sum '^properties: [0-9]+ passed')
        failed=$(sum 'passed, [0-9]+ failed')
        skipped=0
        ;;
    ct)
        # With the full stop: what a suite prints of its own cases (PropEr's "OK: Passed 30 test(s).") does not count.
        passed=$(($(sum '^All [0-9]+ tests? passed[.]') + $(sum 'Passed [0-9]+ tests?[.]')))
        failed=$(sum '^Failed [0-9]+ tests?[.]')
        skipped=$(sum 'Skipped [0-9]+ ')
        ;;
    *)
        echo "test-counts.sh: there is no stage '$1'" >&2
        exit 2
        ;;
esac
echo "$passed $failed $skipped"
