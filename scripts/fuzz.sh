#!/bin/bash
# Coverage-guided fuzzing with libFuzzer: scripts/fuzz.sh [SECONDS] [TARGET...]
#
# Each target runs for SECONDS (60 unless told) on one core, and begins with what earlier runs kept in fuzz/corpus and
# with seeds: every Topos source of the repository, and terms and messages of the tests. Stops at the first finding,
# names its input and exits with 1. Needs cargo-fuzz (`cargo install cargo-fuzz`) and a C++ compiler; no nightly
# toolchain: the flags that libFuzzer needs are unlocked with RUSTC_BOOTSTRAP, and there is no address sanitizer,
# since nothing that is fuzzed has `unsafe` in it.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
[[ $seconds =~ ^[0-9]+$ ]] && [ "$seconds" -gt 0 ] || { echo "fuzz.sh: '$seconds' is no number of seconds" >&2; exit 2; }
[ $# -eq 0 ] || shift
all=(lexer parser checker term overlay)
targets=("$@")
[ $# -gt 0 ] || targets=("${all[@]}")
for target in "${targets[@]}"; do
    [[ " ${all[*]} " == *" $target "* ]] || { echo "fuzz.sh: no target '$target'; there are: ${all[*]}" >&2; exit 2; }
done
command -v cargo-fuzz >/dev/null || { echo "fuzz.sh: cargo-fuzz is not installed: cargo install cargo-fuzz" >&2; exit 1; }

export RUSTC_BOOTSTRAP=1
cargo fuzz build -s none --release --fuzz-dir fuzz
mkdir -p fuzz/corpus/seeds/{language,term,overlay}
n=0
while IFS= read -r -d '' file; do
    n=$((n + 1))
    cp "$file" "fuzz/corpus/seeds/language/$n.topos"
done < <(find tests topos_stdlib examples native/*/tests bench -name '*.topos' -size -24k -print0 | sort -z)
cp fuzz/seeds/term/* fuzz/corpus/seeds/term/
cp fuzz/seeds/overlay/* fuzz/corpus/seeds/overlay/

for target in "${targets[@]}"; do
    case $target in
        term | overlay) seeds=$target options=(-max_len=4096) ;;
        # The checker's own work for a file of this size is milliseconds: what takes seconds is a finding.
        *) seeds=language options=(-max_len=8192 -dict=fuzz/topos.dict) ;;
    esac
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    echo "== $target: $seconds s"
    cargo fuzz run -s none --release --fuzz-dir fuzz "$target" "fuzz/corpus/$target" "fuzz/corpus/seeds/$seeds" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 "${options[@]}" 2>&1 |
        grep -vE '^#[0-9]+\s+(NEW|REDUCE|pulse|RELOAD)|^\s*NEW_FUNC'
done
echo "fuzz: no finding in ${targets[*]}"
