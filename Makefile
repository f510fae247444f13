# What people and CI type. Every target works from a fresh clone.

GO      ?= go
LAB_DIR ?= covol-lab

.PHONY: build lab lab-down test bench bench-failover quick lint clean

build: bin/covol

.PHONY: bin/covol
bin/covol:
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./cmd/covol

# A three-node lab on this machine with an image on it; installs what is missing.
lab:
	.ci/lab.sh $(LAB_DIR)

lab-down: build
	bin/covol lab down --rm --dir $(LAB_DIR)

# Everything a reviewer runs: lint, layering, all tests with the race detector, and the quick ones on one processor.
test:
	.ci/test.sh

# How fast covol is beside its peers: a report with plots under bench/results. BENCH="-only data -reps 1" and the like.
bench: build
	$(GO) run ./bench -covol bin/covol $(BENCH)

# How long the others wait when a node dies, what locks cost, what a node weighs; commit what it writes.
bench-failover: build
	$(GO) run ./bench/failover -covol bin/covol

# Seconds instead of minutes, while editing.
quick: lint
	$(GO) run ./cmd/testsum -short ./...

lint:
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@test -z "$$(gofmt -l .)" || { echo "gofmt: these files are not formatted:"; gofmt -l .; exit 1; }

clean:
	rm -rf bin
