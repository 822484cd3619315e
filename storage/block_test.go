package storage

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestColumnRoundTrip(t *testing.T) {
	for _, values := range []int{1, 2, 255, 256, 257, 5000} {
		r := rand.New(rand.NewPCG(uint64(values), 1))
		dict := make([]string, values)
		for i := range dict {
			dict[i] = fmt.Sprintf("/blog/%06d", i)
		}
		codes := make([]uint16, 10000)
		for i := range codes {
			codes[i] = uint16(r.IntN(values))
		}
		// A base that shares some of the values, and in some rows has the same.
		to := &base{codes: make([]uint16, len(codes))}
		for i, value := range dict {
			if i%3 > 0 {
				to.dict = append(to.dict, value)
			}
		}
		to.dict = append(to.dict, "/zzz")
		for i, c := range codes {
			to.codes[i] = uint16(len(to.dict) - 1)
			if at, ok := slices.BinarySearch(to.dict, dict[c]); ok && i%2 == 0 {
				to.codes[i] = uint16(at)
			}
		}
		for _, to := range []*base{nil, to} {
			stored := appendColumn(nil, dict, codes, to)
			gotDict, gotCodes, err := decodeColumn(stored, len(codes), nil, to)
			if err != nil || !slices.Equal(gotDict, dict) || !slices.Equal(gotCodes, codes) {
				t.Errorf("%d values: not the same after a round trip, %v", values, err)
			}
		}
	}
}

func TestSumsRoundTrip(t *testing.T) {
	for _, sums := range [][]int64{
		{0}, {1, 1, 1}, {-1, 1}, {-128, 127}, {-129, 127}, {0, 32767}, {0, 32768}, {math.MinInt32, 5},
		{math.MaxInt32 + 1, 0}, {math.MinInt64, math.MaxInt64}, {-7, -7},
	} {
		got, err := decodeSums(appendSums(nil, sums), len(sums), nil)
		if err != nil || !slices.Equal(got, sums) {
			t.Errorf("%v: got %v, %v", sums, got, err)
		}
	}
}

func TestBlockDictionariesAreSorted(t *testing.T) {
	bl := newBuilder(visitsSchema)
	var dims [columns]string
	var sums [maxMeasures]int64
	for i, path := range []string{"/b", "/a", "/c", "/a"} {
		dims[Entry] = path
		sums[VisitCount] = int64(i)
		bl.add(&dims, &sums)
	}
	b := bl.finish()
	if want := []string{"/a", "/b", "/c"}; !slices.Equal(b.dicts[Entry], want) {
		t.Errorf("dictionary %q, want %q", b.dicts[Entry], want)
	}
	if want := []uint16{1, 0, 2, 0}; !slices.Equal(b.codes[Entry], want) {
		t.Errorf("codes %v, want %v", b.codes[Entry], want)
	}
}

// FuzzDecode checks that damaged bytes give an error or a well-formed column, and never a panic.
func FuzzDecode(f *testing.F) {
	f.Add(appendColumn(nil, []string{"", "a", "ab"}, []uint16{0, 1, 2, 1}, nil), uint16(4))
	f.Add(appendSums(nil, []int64{1, 300, -5}), uint16(3))
	h := header{blockRows: []int{5}, inline: []byte{1, 2, 3}}
	f.Add(h.append(nil), uint16(5))
	f.Fuzz(func(t *testing.T, src []byte, rows uint16) {
		n := max(int(rows), 1)
		for _, to := range []*base{nil, {[]string{"", "b"}, make([]uint16, n)}} {
			if dict, codes, err := decodeColumn(src, n, nil, to); err == nil {
				for _, c := range codes {
					_ = dict[c]
				}
			}
		}
		if sums, err := decodeSums(src, int(rows), nil); err == nil && len(sums) != int(rows) {
			t.Errorf("%d sums for %d rows", len(sums), rows)
		}
		if h, err := decodeHeader(src); err == nil {
			if again, err := decodeHeader(h.append(nil)); err != nil || !reflect.DeepEqual(h, again) {
				t.Errorf("header %v became %v, %v", h, again, err)
			}
			_, _ = splitBlock(hitsSchema, h.inline)
		}
	})
}

func TestKeysRoundTrip(t *testing.T) {
	for _, ref := range []runRef{{1, Hits, 20000, 3, 42}, {math.MaxUint32, Visits, -5, 255, math.MaxUint64}} {
		if got, err := parseHeaderKey(ref.headerKey()); err != nil || got != ref {
			t.Errorf("header key of %v: %v, %v", ref, got, err)
		}
		ref.level = 0
		if got, err := parseGarbageKey(ref.runKey(prefixGarbage)); err != nil || got != ref {
			t.Errorf("garbage key of %v: %v, %v", ref, got, err)
		}
	}
}
