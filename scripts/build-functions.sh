#!/bin/sh
# Builds the binaries of all functions for Lambda: scripts/build-functions.sh [arm64|x86_64] [release|dev]. They are put into
# target/lambda/FUNCTION, where infra/template.yaml looks for them. For a release, what they weigh and how long they take to start is printed;
# `dev` is for tests, which would wait long for the optimizer.
#
# Zig does the linking, against the C library of the runtime `provided.al2023`, so that it does not matter how new this machine's is.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
arch=${1:-arm64}
profile=${2:-release}
glibc=2.34

fail() {
    echo "build-functions: $1" >&2
    exit 1
}

case $arch in
    arm64) target=aarch64-unknown-linux-gnu ;;
    x86_64) target=x86_64-unknown-linux-gnu ;;
    *) fail "\`$arch\` is no architecture of Lambda; give arm64 or x86_64" ;;
esac
case $profile in
    release) optimized=--release ;;
    # Without what a debugger wants, the binaries are small enough to be uploaded.
    dev) optimized="" CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_STRIP=symbols && export CARGO_PROFILE_DEV_DEBUG CARGO_PROFILE_DEV_STRIP ;;
    *) fail "\`$profile\` is no profile; give release or dev" ;;
esac
[ -d "$(rustc --print target-libdir --target "$target")" ] || fail "the Rust compiler can't build for $target yet; install it with: rustup target add $target"

"$root/scripts/setup-deploy.sh"
PATH="$root/.venv-deploy/bin:$PATH"
export PATH

# At a fixed address, 30,000 addresses need not be worked out at every start.
RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-no-pie"
export RUSTFLAGS

cd "$root"
# cargo-lambda would set a profile of its own, in which a panic ends the process and with it all messages of its batch.
# shellcheck disable=SC2086
cargo lambda build $optimized --disable-optimizations --target "$target.$glibc" \
    --package ingest --package resolve --package score --package level --package dispatch --package rescore --package api
[ "$profile" = release ] || exit 0
cargo lambda build --release --disable-optimizations --target "$target.$glibc" --package aws --example hello
.venv-deploy/bin/python tests/deploy/startup.py
