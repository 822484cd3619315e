package visit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// randomHit makes a hit of a few visitors and pages.
func randomHit(r *rand.Rand, at int64) (ID, testHit) {
	h := view(at, fmt.Sprintf("/%d", r.IntN(4)))
	h.Origin, h.Attributes = text(fmt.Sprint(r.IntN(3))), text(fmt.Sprint(r.IntN(3)))
	switch r.IntN(4) {
	case 0:
		h.Kind, h.Name, h.Props = Event, fmt.Sprint(r.IntN(2)), fmt.Sprint(r.IntN(2))
	case 1:
		h.Kind, h.Scroll, h.Engaged = Engagement, r.IntN(100), r.Int64N(900_000)
	}
	return ID(r.IntN(50)), h
}

// resumed returns a table that goes on with what another has, as after a restart.
func resumed(t *testing.T, tab *testTable) *testTable {
	t.Helper()
	s := *tab.State()
	for _, raw := range []*[]byte{&s.Visitors, &s.Visits, &s.Pages, &s.Seen} {
		*raw = bytes.Clone(*raw)
	}
	key := bytes.Clone(tab.key)
	s.FreeVisitors, s.FreeVisits, s.FreePages = slices.Clone(s.FreeVisitors), slices.Clone(s.FreeVisits), slices.Clone(s.FreePages)
	s.Paths, s.Hosts, s.Attributes, s.Origins = slices.Clone(s.Paths), slices.Clone(s.Hosts), slices.Clone(s.Attributes), slices.Clone(s.Origins)
	tab.Close()
	tab, err := Resume(key, &s)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// A table that is handed over now and then says of every hit what one says that stays.
func TestResumedTableGoesOn(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 4))
		with, without := newTable(1), newTable(1)
		at := int64(0)
		for i := range 2000 {
			at += int64(r.IntN(60))
			if r.IntN(100) == 0 || i == 0 {
				with = resumed(t, with)
			}
			id, h := randomHit(r, at)
			got, undo, gotErr := with.Record(id, &h)
			want, undoWithout, wantErr := without.Record(id, &h)
			if gotErr != wantErr || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, hit %d: after hand-overs\n%+v, %v\nwithout\n%+v, %v", seed, i, got, gotErr, want, wantErr)
			}
			if gotErr == nil && r.IntN(10) == 0 {
				with.Revert(&undo)
				without.Revert(&undoWithout)
			}
		}
		with.Fold(at * 1000)
		without.Fold(at * 1000)
		if with.seen.n != without.seen.n || with.Visitors() != without.Visitors() || with.visits.len() != without.visits.len() {
			t.Errorf("seed %d: %d things, %d visitors, %d visits; without hand-overs %d, %d, %d", seed,
				with.seen.n, with.Visitors(), with.visits.len(), without.seen.n, without.Visitors(), without.visits.len())
		}
	}
}

// Whatever is wrong with a state, it is refused, or the table works.
func TestDamagedStateIsRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	tab := newTable(1)
	for i := range int64(500) {
		id, h := randomHit(r, i*20)
		tab.Record(id, &h)
	}
	tab.Fold(2 * Timeout * 1000)
	refused := 0
	for range 600 {
		s := *tab.State()
		raws := []*[]byte{&s.Visitors, &s.Visits, &s.Pages, &s.Seen}
		for _, raw := range raws {
			*raw = bytes.Clone(*raw)
		}
		switch raw := raws[r.IntN(4)]; r.IntN(8) {
		case 0:
			s.Layout++
		case 1:
			*raw = (*raw)[:r.IntN(len(*raw))]
		case 2:
			s.Paths = append(slices.Clone(s.Paths), s.Paths[0])
		case 3:
			s.FreePages = append(slices.Clone(s.FreePages), uint32(r.IntN(1000)))
		default:
			(*raw)[r.IntN(len(*raw))] ^= 1 << r.IntN(8)
		}
		damaged, err := Resume(keyOf(1), &s)
		if err != nil {
			refused++
			continue
		}
		for i := range int64(50) {
			id, h := randomHit(r, 10_000+i*100)
			if _, undo, err := damaged.Record(id, &h); err == nil && i%7 == 0 {
				damaged.Revert(&undo)
			}
		}
		damaged.Fold(1 << 40)
	}
	if refused < 100 {
		t.Errorf("only %d of 600 damaged states are refused", refused)
	}
}
