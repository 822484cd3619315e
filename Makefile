# Everything that a developer or a machine runs. `make test` is what has to pass.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS  = -s -w $(if $(VERSION),-X main.version=$(VERSION))

.DEFAULT_GOAL := build
.PHONY: build run test soak bench fmt lint generate generated deps check-fmt race-tests

# Without cgo the binary is static and runs on an empty image.
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o dachs ./cmd/dachs

run:
	$(GO) run ./cmd/dachs

# Stops at the first step that fails.
test: deps check-fmt lint generated race-tests
	@echo "== all passed"

# The long versions of tests: a million made-up pages, many more kills and damaged bytes. One package at a time, since
# some of them measure memory.
soak:
	DACHS_SOAK=1 CGO_ENABLED=0 $(GO) test -p 1 -count 1 -timeout 4h -v -run '$(or $(RUN),.)' ./...

# VIEWS is how many page views a store is filled with, and DAYS over how many days: two years of a large site are
# make bench VIEWS=100000000 DAYS=730. SITES is how many small sites another one has, each with 100 a day for 90 days.
# HITS is how many hits a server takes while its CPU time is measured.
VIEWS ?= 10000000
DAYS  ?= 30
SITES ?= 1000
HITS  ?= 500000
bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...
	$(GO) run ./cmd/dachs bench --views $(VIEWS) --days $(DAYS)
	$(GO) run ./cmd/dachs bench --sites $(SITES) --days 90
	$(GO) run ./cmd/dachs bench --hits $(HITS)

fmt:
	gofmt -w $$(find . -name '*.go' -not -path './.git/*')

check-fmt:
	@echo "== gofmt"
	@unformatted=$$(gofmt -l $$(find . -name '*.go' -not -path './.git/*')); \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt repairs it):"; echo "$$unformatted"; exit 1; fi

lint:
	@echo "== go vet"
	@$(GO) vet ./...
	@echo "== staticcheck"
	@$(GO) tool staticcheck ./...

generate:
	$(GO) generate ./...

# Compares contents and not commits, so that it works with local changes and in a tarball without git.
SUMS = find . -type f -not -path './.git/*' -not -path './dachs-data/*' -not -path ./dachs | LC_ALL=C sort | xargs -d '\n' sha256sum

generated:
	@echo "== go generate"
	@before=$$(mktemp) && after=$$(mktemp) && trap 'rm -f "$$before" "$$after"' EXIT && \
	$(SUMS) > "$$before" && $(GO) generate ./... && $(SUMS) > "$$after" && \
	if ! diff "$$before" "$$after" > /dev/null; then \
		echo "go generate changed files; commit the result of make generate:"; \
		diff "$$before" "$$after" | sed -n 's/^> [0-9a-f]*/ /p'; exit 1; \
	fi

# The race detector needs cgo and a C compiler.
race-tests:
	@if command -v "$$($(GO) env CC | cut -d' ' -f1)" > /dev/null; then \
		echo "== go test -race"; CGO_ENABLED=1 $(GO) test -race -timeout 12m ./...; \
	else \
		echo "== go test (WITHOUT the race detector: it needs a C compiler)"; CGO_ENABLED=0 $(GO) test -timeout 12m ./...; \
	fi

# Debian packages that the tests need: a browser, the source of the country table, a C compiler for the race
# detector. Where they cannot be installed, the tests say what they leave out.
deps:
	@missing=""; \
	command -v chromium > /dev/null || command -v google-chrome > /dev/null || missing="$$missing chromium"; \
	[ -e /usr/share/tor/geoip6 ] || missing="$$missing tor-geoipdb"; \
	command -v "$$($(GO) env CC | cut -d' ' -f1)" > /dev/null || missing="$$missing gcc libc6-dev"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	echo "== install$$missing"; \
	if [ "$$(id -u)" = 0 ]; then root=""; else root="sudo -n"; fi; \
	if ! command -v apt-get > /dev/null || ! $$root true 2> /dev/null || \
	   ! { $$root apt-get update -q && $$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; }; then \
		echo "cannot install$$missing here: tests that need them are left out. To have them all, install these packages yourself."; \
	fi
