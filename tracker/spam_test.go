package tracker

import (
	"slices"
	"strings"
	"testing"
)

func TestIsSpam(t *testing.T) {
	for referrer, want := range map[string]bool{
		"semalt.com": true, "semalt.com/x/y": true, "forum.topic1.darodar.com": true, "0n-line.tv": true, "xn--oogle-wmc.com/": true,
		"": false, "com": false, "notsemalt.com": false, "semalt.com.example": false, "example.com/semalt.com": false, "semalt": false,
		"google.com": false, "a.example": false, "zzz.example": false,
	} {
		if got := isSpam(referrer); got != want {
			t.Errorf("%q is %v", referrer, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { isSpam("a.b.example.com/x") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// Every line can be found, and none is where people come from.
func TestSpammersFile(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(spamTable, "\n"), "\n")
	if len(lines) < 50 || !slices.IsSorted(lines) || len(slices.Compact(slices.Clone(lines))) != len(lines) {
		t.Errorf("%d lines, or not in order, or not each once", len(lines))
	}
	for _, line := range lines {
		if host, ok := cleanHost(line); !ok || host != line || !strings.Contains(line, ".") || !isSpam(line) {
			t.Errorf("%q would never be found", line)
		}
		if name, category := hostSource(line); category != "" {
			t.Errorf("%s is also %s", line, name)
		}
	}
}
