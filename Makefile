# muster: the two commands that matter are `make run` and `make test`.

GO      ?= go
TOOL    := $(GO) tool -modfile=tools/go.mod
BIN     := bin/muster
FLOOR   := bin/floor
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
SOURCES := $(shell find . -name '*.go' -not -name '*_test.go' -not -path './bin/*') $(shell find report/web -type f) go.mod go.sum scenarios/*.yaml

.PHONY: build run test check format vet staticcheck tidy peers bench performance profiles screenshots truth fuzz soak soak-starved soak-tests soak-gates clean

build: $(BIN)

$(BIN): $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X muster/cmd/muster/internal/cli.version=$(VERSION)' -o $@ ./cmd/muster

# The main job: 10,000 doors on the embedded hub. SCENARIO and ARGS choose others.
SCENARIO ?= scenarios/lockdoor-10k.yaml
run: build
	$(BIN) run $(ARGS) $(SCENARIO)

# The race detector needs a C compiler; without one the tests run all the same.
RACE := $(if $(shell command -v $${CC:-gcc} 2>/dev/null),-race)
test:
	@test -n "$(RACE)" || echo "no C compiler: testing without the race detector"
	$(GO) test $(RACE) ./...
	$(GO) test $(RACE) ./hub -store

# What CI runs.
check: tidy format vet staticcheck test

tidy:
	$(GO) mod tidy -diff
	cd tools && $(GO) mod tidy -diff

format:
	@out=$$($(TOOL) mvdan.cc/gofumpt -l .); test -z "$$out" || { echo "not formatted by gofumpt:"; echo "$$out"; exit 1; }

vet:
	$(GO) vet ./...

staticcheck:
	$(TOOL) honnef.co/go/tools/cmd/staticcheck ./...

# Clients that others wrote, and readers of results, for the tests of packages peers, report and harness/metrics: these skip
# without them, and fail in CI. Needs npm, and for Mosquitto's tools, xmllint, promtool and Chromium Debian or the like, or to
# have them.
peers: peers/node_modules/.package-lock.json
	@for program in mosquitto_sub xmllint promtool chromium; do command -v $$program >/dev/null || missing=1; done; test -z "$$missing" || \
		{ apt-get update -q && apt-get install -q -y --no-install-recommends mosquitto-clients libxml2-utils prometheus chromium fonts-dejavu-core; }

peers/node_modules/.package-lock.json: peers/package.json peers/package-lock.json
	cd peers && npm ci --omit=dev --ignore-scripts --no-audit --no-fund
	@touch $@

# What broadcasts cost, muster and the floor programs in one go: numbers, no verdicts, in ten minutes. BENCH are other flags, such as
# -all, or -only 'hub tcp lean'; go run ./bench -help lists them.
bench: build $(FLOOR)
	$(GO) run ./bench $(BENCH)

# The tables of docs/performance.md, made anew.
performance: build $(FLOOR)
	$(GO) run ./bench -markdown docs/performance.md $(BENCH)
	$(MAKE) profiles PROFILE='-markdown docs/performance.md'

# Where the processor time of a broadcast goes: profiles of generator and hub in bin/profiles. PROFILE are other flags.
profiles:
	$(GO) build -trimpath -o bin/profiled ./cmd/muster/profiled
	$(GO) run ./bench -muster bin/profiled -profile bin/profiles $(PROFILE)

$(FLOOR): $(SOURCES)
	CGO_ENABLED=0 $(GO) build -trimpath -o $@ ./bench/floor

# The pictures of docs/report.md and docs/live.md, of runs made for them. What a run comes to is no matter here: a busy machine makes it invalid.
SHOWN := bin/shown
screenshots: build peers
	rm -rf $(SHOWN)
	-$(BIN) run --progress none --out $(SHOWN)/lockdoor lockdoor-10k
	-$(BIN) run --progress none --out $(SHOWN)/trouble peers/testdata/night-audit.yaml
	-$(BIN) run --progress none --out $(SHOWN)/a --devices 2000 lockdoor-10k
	-$(BIN) run --progress none --out $(SHOWN)/b --devices 2000 --set target.embedded.jobRate=3000/s lockdoor-10k
	$(BIN) report --compare $(SHOWN)/a $(SHOWN)/b --out $(SHOWN)/compare.html
	mkdir -p docs/images
	$(GO) test -tags screenshots ./peers -run Screenshots -count=1 -args -pages $(CURDIR)/$(SHOWN) -pictures $(CURDIR)/docs/images

# What muster measures against delays that it injects and logs itself: see docs/measurement.md. A minute, or more on a busy machine.
truth:
	$(GO) run ./bench/truth

# Each fuzz target for FUZZTIME.
FUZZTIME ?= 30s
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
		done; \
	done

# What CI does not run: a run that is starved of CPU must end invalid; many counts of every test, for what shows up seldom; and many
# verdicts of gates.
soak: soak-starved soak-tests soak-gates

soak-starved: build
	$(GO) run ./bench/starved -muster $(BIN)

soak-tests:
	$(GO) test -race -count 20 -timeout 60m ./...

# Half an hour on an idle host: see docs/gates.md. GATES are other flags, such as -like 10 -slower 5.
soak-gates: build
	$(GO) run ./bench/gate -muster $(BIN) $(GATES)

clean:
	rm -rf bin results peers/node_modules
