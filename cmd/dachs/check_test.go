package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheck looks at a store without a server and beside one, damages it, and repairs it.
func TestCheck(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	checkFailure(t, dachs(t, "check", "--data", data), exitError, "nothing is stored there yet")
	must(t, "site", "add", "example.com", "--data", data)
	if out := must(t, "check", "--data", data); !strings.Contains(out, "sites 1, days 0, runs 0, rows 0") {
		t.Errorf("check prints %s", out)
	}
	s := startDachs(t, data)
	if out := must(t, "check", "--data", data); !strings.Contains(out, "sites 1,") {
		t.Errorf("check beside a server prints %s", out)
	}
	checkFailure(t, dachs(t, "check", "--repair", "--data", data), exitError, "stop it first")
	if code := s.stop(); code != exitOK {
		t.Fatalf("the server ended with %d", code)
	}

	tables, err := filepath.Glob(filepath.Join(data, "badger", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	table, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	table[3] ^= 1
	if err := os.WriteFile(tables[0], table, 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(tables[0])
	checkFailure(t, dachs(t, "site", "list", "--data", data), exitError, name+", byte 0")
	r := dachs(t, "check", "--data", data)
	if r.code != exitError || !strings.Contains(r.stdout, name) || !strings.Contains(r.stdout, "--repair would: write it anew") ||
		!strings.Contains(r.stderr, "1 thing is not as it should be") {
		t.Errorf("check of a damaged store: %+v", r)
	}
	out := must(t, "check", "--repair", "--data", data)
	if !strings.Contains(out, "repaired: write it anew") || !strings.Contains(out, "damaged-") {
		t.Errorf("check --repair prints %s", out)
	}
	if kept, err := filepath.Glob(filepath.Join(data, "damaged-*", name)); err != nil || len(kept) != 1 {
		t.Errorf("kept are %v, %v", kept, err)
	}
	if out := must(t, "check", "--data", data); !strings.HasPrefix(out, "looked at") {
		t.Errorf("check after a repair prints %s", out)
	}
	must(t, "site", "list", "--data", data)
}
