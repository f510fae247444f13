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

# Simulations replay one procedure at a time: under the race detector few of their seeds are enough, the many run without.
step "tests: with the race detector, many seeds of the simulations, and the quick ones on one processor"
go build -o bin/testsum ./cmd/testsum
simulations="./cluster ./cluster/paxos ./fs ./ondisk/check ./integration/sim ./vmhost/handover"
others=$(go list ./... | grep -vxF "$(go list $simulations)" | tr '\n' ' ')
bin/testsum -limit 75m \
	-pass "race: -race -timeout 40m $others" \
	-pass "race, few seeds: -race -short -timeout 20m $simulations" \
	-pass "simulations: -timeout 20m $simulations" \
	-pass "one processor: GOMAXPROCS=1 -short -timeout 15m ./ondisk/layout ./ondisk ./ondisk/sched/... ./dlm/... ./fs/fusefs/... ./cmd/..."
echo "took $((SECONDS - start)) s"
