package main

import (
	"os"
	"strings"
	"testing"

	"dachs/tracker/bot"
)

func TestCommittedListIsReproducible(t *testing.T) {
	made, err := generate("..")
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../crawlers.txt")
	if err != nil {
		t.Fatal(err)
	}
	if made != string(committed) {
		t.Error("crawlers.txt differs from what its inputs give; run go generate ./tracker/bot")
	}
	if n := strings.Count(made, "\n"); n < 50 {
		t.Errorf("only %d parts", n)
	}
}

// TestCrawlersAreTold goes through the two thousand user agents of the list. Those that are missed are taken for people on
// purpose, or too much like them.
func TestCrawlersAreTold(t *testing.T) {
	list, err := read("..")
	if err != nil {
		t.Fatal(err)
	}
	agents, known := 0, 0
	var missed []string
	for _, c := range list {
		for _, ua := range c.Instances {
			agents++
			if bot.Known(ua) {
				known++
			}
			if !bot.Is(ua) && people[c.Pattern] == "" {
				missed = append(missed, c.Pattern+": "+ua)
			}
		}
	}
	t.Logf("%d user agents, %d told without the list, %d missed with it", agents, known, len(missed))
	if agents < 2000 || len(missed) > 3 {
		t.Errorf("of %d user agents %d are missed:\n%s", agents, len(missed), strings.Join(missed, "\n"))
	}
}

func TestLiteral(t *testing.T) {
	for pattern, want := range map[string]string{
		`Criticalcss\.com`: "criticalcss.com", `Asana\/`: "asana/", `Owler \(ows\.eu`: "owler (ows.eu", `[a-z]bots`: "", `^Links`: "", `a.cdef`: "", `Dlc\/`: "",
	} {
		if got, ok := literal(pattern); ok != (want != "") || ok && got != want {
			t.Errorf("%s is %q, %v", pattern, got, ok)
		}
	}
}
