package storage

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAnyAbove compares with a plain loop, at every length around a word and every limit.
func TestAnyAbove(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		some, most := make([]byte, r.IntN(20)), byte(r.IntN(256))
		for i := range some {
			if some[i] = byte(r.IntN(int(most) + 1)); r.IntN(40) == 0 {
				some[i] = byte(r.IntN(256))
			}
		}
		if got, want := anyAbove(some, most), slices.ContainsFunc(some, func(b byte) bool { return b > most }); got != want {
			t.Fatalf("above %d in %d: %v, want %v", most, some, got, want)
		}
	}
}
