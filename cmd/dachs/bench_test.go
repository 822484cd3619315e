package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestBench runs the measurement on a few page views, and once more on the store that it has kept. What it measures is
// not judged.
func TestBench(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bench")
	first := must(t, "bench", "--views", "3000", "--days", "2", "--dir", dir)
	again := must(t, "bench", "--views", "3000", "--days", "2", "--dir", dir)
	for _, what := range []string{"bytes a page view", "start to first commit", "whole report", "filtered by a country", "memory", "visitors of a folder"} {
		if !strings.Contains(first, what) || !strings.Contains(again, what) {
			t.Errorf("%q is missing in\n%s\nor\n%s", what, first, again)
		}
	}
	if !strings.Contains(first, "fill ") || strings.Contains(again, "fill ") {
		t.Errorf("filled once? first\n%s\nthen\n%s", first, again)
	}
	if r := dachs(t, "bench", "--days", "0"); r.code != exitUsage {
		t.Errorf("--days 0: exit code %d", r.code)
	}
}

// TestBenchOfManySites measures a few small sites, and once more those that it has kept.
func TestBenchOfManySites(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bench")
	first := must(t, "bench", "--sites", "3", "--days", "2", "--dir", dir)
	again := must(t, "bench", "--sites", "3", "--days", "2", "--dir", dir)
	for _, what := range []string{"3 sites, 100 page views a day each, 2 days", "many: start to first commit", "many: memory", "report among many / alone"} {
		if !strings.Contains(first, what) || !strings.Contains(again, what) {
			t.Errorf("%q is missing in\n%s\nor\n%s", what, first, again)
		}
	}
	if !strings.Contains(first, "fill 3 sites") || strings.Contains(again, "fill ") {
		t.Errorf("filled once? first\n%s\nthen\n%s", first, again)
	}
	if r := dachs(t, "bench", "--sites", "-1"); r.code != exitUsage {
		t.Errorf("--sites -1: exit code %d", r.code)
	}
}
