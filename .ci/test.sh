#!/usr/bin/env bash
# Called by make test.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/deps.sh test

step() { echo "== $*"; }
start=$SECONDS

step "format, vet, staticcheck"
unformatted=$(gofmt -l .)
if [ -n "$unformatted" ]; then
	echo "not formatted: $unformatted"
	exit 1
fi
go vet ./...
go tool staticcheck ./...

step "build"
make --no-print-directory build

step "tests, with the race detector, and the quick ones on one processor"
go build -o bin/testsum ./cmd/testsum
bin/testsum -limit 75m \
	-pass "race: -race -timeout 20m ./..." \
	-pass "one processor: GOMAXPROCS=1 -short -timeout 5m ./ondisk/layout ./ondisk ./ondisk/sched/... ./dlm/... ./fs/fusefs/... ./cmd/..."
echo "took $((SECONDS - start)) s"
