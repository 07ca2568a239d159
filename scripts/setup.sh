#!/bin/sh
# Makes this machine ready to build and test: Erlang/OTP, rebar3, PropEr, meck, a C linker, and the decision where Partisan
# comes from. On Debian and Ubuntu, as root, what is missing is installed; elsewhere one list says what to install.
#
#   scripts/setup.sh            do what is missing; quick when nothing is
#   scripts/setup.sh --again    ask again whether hex answers for Partisan
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
state=$root/.make
mkdir -p "$state"
[ "${1:-}" = --again ] && rm -f "$state/partisan"

say() { printf 'setup: %s\n' "$*"; }

erl_eval() { erl -noshell -noinput -boot start_clean -eval "$1" 2>/dev/null; }
has_app() { erl_eval "case code:lib_dir($1) of {error, _} -> halt(1); _ -> halt(0) end."; }
otp_release() { erl_eval 'io:put_chars(erlang:system_info(otp_release)), halt(0).'; }

# What is missing, as names of Debian's packages.
missing() {
    command -v cc >/dev/null 2>&1 || echo gcc libc6-dev
    if ! command -v erl >/dev/null 2>&1; then
        echo erlang-nox erlang-dev erlang-dialyzer erlang-proper erlang-proper-dev erlang-meck
    else
        [ -d "$(erl_eval 'io:put_chars(code:root_dir()), halt(0).')/usr/include" ] || echo erlang-dev
        for app in ssl common_test eunit tools syntax_tools; do has_app $app || echo erlang-nox; done
        has_app dialyzer || echo erlang-dialyzer
        has_app proper || echo erlang-proper erlang-proper-dev
        has_app meck || echo erlang-meck
    fi
    command -v rebar3 >/dev/null 2>&1 || echo rebar3
}

if ! command -v cargo >/dev/null 2>&1; then
    say "there is no Rust toolchain here: install one (https://rustup.rs), then run this again." >&2
    exit 1
fi

packages=$(missing | tr ' ' '\n' | sort -u | tr '\n' ' ')
if [ -n "$packages" ]; then
    if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
        say "installing from Debian: $packages(a minute or two; the log is .make/apt.log)"
        export DEBIAN_FRONTEND=noninteractive
        { apt-get update && apt-get install -y --no-install-recommends $packages; } >"$state/apt.log" 2>&1 || {
            tail -n 20 "$state/apt.log" >&2
            say "apt-get failed; its whole output is in .make/apt.log" >&2
            exit 1
        }
    else
        say "this machine lacks a few things. Install them, then run the same command again:" >&2
        cat >&2 <<LIST
  - Erlang/OTP 25 or newer, with its development headers, Common Test, EUnit and Dialyzer
  - rebar3 3.19 or newer
  - PropEr and meck, where every erl finds them (only the tests need these two)
  - a C compiler as linker for Rust
Debian's names of what is missing here: $packages
LIST
        exit 1
    fi
fi

release=$(otp_release)
if [ "${release:-0}" -lt 25 ]; then
    say "Erlang/OTP $release is too old: 25 or newer is needed." >&2
    exit 1
fi

# Where Partisan comes from: Erlang's code path, else hex, else nowhere (then the embedded engine serves). Asked once.
if has_app partisan; then
    decision=installed
elif [ "${TOPOS_OFFLINE:-}" = 1 ]; then
    decision=absent
elif [ -f "$state/partisan" ] && [ "$(cat "$state/partisan")" != installed ]; then
    decision=$(cat "$state/partisan")
else
    probe=$(mktemp -d)
    trap 'rm -rf "$probe"' EXIT
    mkdir "$probe/src"
    echo '{deps, [{partisan, "~> 5.0.3"}]}.' >"$probe/rebar.config"
    if (cd "$probe" && timeout 20 rebar3 get-deps) >"$state/hex.log" 2>&1; then decision=hex; else decision=absent; fi
fi
if [ "$(cat "$state/partisan" 2>/dev/null)" != "$decision" ]; then
    echo "$decision" >"$state/partisan"
    case $decision in
        installed) say "Partisan is on Erlang's code path; engines: partisan, otp" ;;
        hex) say "Partisan comes from hex; engines: partisan, otp" ;;
        absent) say "Partisan is not installed and hex does not answer: only the embedded engine (otp) runs. 'make setup' asks again." ;;
    esac
fi
