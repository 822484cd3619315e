package storage

import (
	"math/rand/v2"
	"testing"
)

// TestKeysOfTuplesSortAsTuplesDo compares random tuples of few and awkward values.
func TestKeysOfTuplesSortAsTuplesDo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := []string{"", "a", "aa", "a\x00", "a\x00b", "\x00", "\x00\x00", "\x00\x01", "\x01", "\xff", "\x00\xff", "b"}
	s := visitsSchema
	tuple := func() (dims [columns]string, row *sumRow) {
		var key []byte
		for _, c := range s.columns {
			if r.IntN(4) == 0 { // or the first columns decide everything
				dims[c] = values[r.IntN(len(values))]
			}
			key = appendValue(key, dims[c])
		}
		return dims, &sumRow{key: string(key)}
	}
	for range 20000 {
		a, rowA := tuple()
		b, rowB := tuple()
		if want, got := compareTuples(s, &a, &b), cmpStrings(rowA.key, rowB.key); want != got {
			t.Fatalf("%q and %q compare as %d, their keys as %d", a, b, want, got)
		}
		var back [columns]string
		rowA.tuple(s, &back)
		if back != a {
			t.Fatalf("%q became %q", a, back)
		}
	}
}

func cmpStrings(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
