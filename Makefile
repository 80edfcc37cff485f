# What there is to run. Nothing here is needed to use the product: `go build ./cmd/reprieve` is enough.

GO       ?= go
FUZZTIME ?= 20s
KILLS    ?= 1000
BENCH    ?=

.PHONY: check test race fuzz bench model crash gen

# What every change has to pass.
check:
	@test -z "$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go'))" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	cd examples/plugin-go && $(GO) vet ./...
	@if command -v golangci-lint >/dev/null; then golangci-lint run; else echo "golangci-lint is not installed: skipped"; fi
	$(GO) test ./...
	cd examples/plugin-go && $(GO) test ./...

test:
	$(GO) test ./...

race:
	$(GO) test -race ./...

# Each fuzz target for FUZZTIME, one after the other. What one finds becomes a file in testdata/fuzz: commit it.
fuzz:
	@for p in $$($(GO) list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

# Against the floor (bare bbolt), as ratios; BENCH=-short for the quick form. See docs/performance.md.
bench:
	$(GO) run ./bench/cmd/bench $(BENCH)

# The reference model beside the store for OPS operations; a seed that fails is printed and replays.
OPS ?= 2000000
model:
	REPRIEVE_MODEL_OPS=$(OPS) $(GO) test -count=1 -timeout 0 -run TestModel ./store

# kill -9 for a long time: of the engine, and of whole servers KILLS times.
crash:
	$(GO) test -count=10 -run Kill ./store/bolt
	REPRIEVE_KILLS=$(KILLS) $(GO) test -count=1 -timeout 0 -run Kill ./cmd/reprieve

# What is generated and committed: the demo's data and, where protoc is installed, the protocol.
gen:
	$(GO) generate ./examples
	@if command -v protoc >/dev/null; then $(GO) generate ./plugins/proto/action/v1 && $(GO) test ./plugins/proto/action/v1 -update; else echo "protoc is not installed: the protocol stays as it is"; fi
