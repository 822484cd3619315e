package main

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestCommittedTableIsReproducible(t *testing.T) {
	made, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../sources.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, committed) {
		t.Error("sources.txt differs from what its inputs give; run go generate ./tracker")
	}
}

func TestTable(t *testing.T) {
	table, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(table), "\n"), "\n")
	var keys []string
	for _, line := range lines {
		fields := strings.Split(line, "\t")
		if len(fields) != 3 || !slices.Contains([]string{"search", "paidsearch", "social", "video", "shopping", "email", "ai", "ad", "other"}, fields[1]) {
			t.Fatalf("line %q is not key, category, name", line)
		}
		if key := fields[0]; key != strings.ToLower(key) || strings.HasPrefix(key, "www.") || strings.ContainsAny(key, "/ ") {
			t.Errorf("key %q would never be found", key)
		}
		keys = append(keys, fields[0])
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(keys) {
		t.Error("keys are not sorted and unique")
	}
}
