package storage

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// awkward are values that a careless way of putting tuples together would mistake for others.
var awkward = []string{"", "a", "aa", "a\x00", "a\x00b", "\x00", "\x00\x00", "\x00\x01", "\x01", "\xff", "\x00\xff", "b"}

// randomTuple makes a tuple of few and awkward values.
func randomTuple(r *rand.Rand, s *schema) (dims [columns]string) {
	for _, c := range s.columns {
		if r.IntN(4) == 0 { // or the first columns decide everything
			dims[c] = awkward[r.IntN(len(awkward))]
		}
	}
	return dims
}

// TestKeysOfTuplesSortAsTuplesDo compares keys of combinations with the combinations.
func TestKeysOfTuplesSortAsTuplesDo(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := visitsSchema
	key := func(dims *[columns]string) string {
		var key []byte
		for _, c := range s.columns {
			key = appendValue(key, dims[c])
		}
		return string(key)
	}
	for range 20000 {
		a, b := randomTuple(r, s), randomTuple(r, s)
		if want, got := compareTuples(s, &a, &b), strings.Compare(key(&a), key(&b)); want != got {
			t.Fatalf("%q and %q compare as %d, their keys as %d", a, b, want, got)
		}
	}
}

// TestSums adds random tuples, some of them to sums of their own first, and compares with a map.
func TestSums(t *testing.T) {
	for seed, s := range []*schema{hitsSchema, visitsSchema} {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		want := make(map[[columns]string][maxMeasures]int64)
		all, part := newSums(s), newSums(s)
		for range 40_000 {
			dims := randomTuple(r, s)
			var add [maxMeasures]int64
			for m := range s.measures {
				add[m] = r.Int64N(5) - 2
			}
			sum := want[dims]
			for m := range s.measures {
				sum[m] += add[m]
			}
			want[dims] = sum
			if r.IntN(2) == 0 {
				all.add(&dims, &add)
				continue
			}
			part.add(&dims, &add)
			if r.IntN(1000) == 0 {
				all.addAll(part)
				part.reset()
			}
		}
		all.addAll(part)
		again := newSums(s)
		checkBlocks(t, all, want, again)
		checkBlocks(t, again, want, newSums(s))
	}
}

// checkBlocks compares the blocks of sums with a map, and adds them to other sums.
func checkBlocks(t *testing.T, m *sums, want map[[columns]string][maxMeasures]int64, copied *sums) {
	t.Helper()
	got, rows := 0, 0
	var last [columns]string
	err := m.blocks(func(b *block) error {
		copied.addBlock(b)
		for _, c := range m.s.columns {
			if !slices.IsSorted(b.dicts[c]) || len(slices.Compact(slices.Clone(b.dicts[c]))) != len(b.dicts[c]) {
				t.Errorf("the dictionary of column %d is not in order", c)
			}
		}
		for row := range b.rows {
			var dims [columns]string
			b.tuple(m.s, row, &dims)
			if rows > 0 && compareTuples(m.s, &last, &dims) >= 0 {
				t.Fatalf("%q comes after %q", dims, last)
			}
			last = dims
			rows++
			sum := want[dims]
			for k := range m.s.measures {
				if b.sums[k][row] != sum[k] {
					t.Fatalf("%q: measure %d is %d, want %d", dims, k, b.sums[k][row], sum[k])
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, sum := range want {
		if sum != [maxMeasures]int64{} {
			got++
		}
	}
	if rows != got || rows < 1000 {
		t.Errorf("%d rows, want %d", rows, got)
	}
}
