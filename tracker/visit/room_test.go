package visit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// Both tables forget and grow like maps do: random things, many of them neighbours, through growth and division.
func TestTablesAgreeWithMaps(t *testing.T) {
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 2))
		var things things
		var people visitors
		seen, numbers := make(map[thing]uint32), make(map[ID]uint32)
		for i := range uint32(12_000) {
			key := thing(r.Uint64N(8_000)<<44|r.Uint64N(4)) | 1
			if seed < 3 && r.IntN(2) == 0 { // others are where there are few
				key = thing(r.Uint64N(6_000)*0x9e3779b97f4a7c15) | 1
			}
			switch s := things.find(key); {
			case (s != nil) != (seen[key] != 0) || s != nil && s.page != seen[key]:
				t.Fatalf("seed %d: thing %x is %v, want %d", seed, key, s, seen[key])
			case s != nil && r.IntN(2) == 0:
				things.drop(key)
				delete(seen, key)
			case s == nil:
				things.add(key).page = i + 1
				seen[key] = i + 1
			}
			id := ID(key >> 40)
			switch n := people.find(id); {
			case n != numbers[id] || n != 0 && people.at(n).id() != id:
				t.Fatalf("seed %d: visitor %x has number %d, want %d", seed, id, n, numbers[id])
			case n != 0 && r.IntN(2) == 0:
				people.drop(n)
				delete(numbers, id)
			case n == 0:
				numbers[id] = people.add(id)
				people.at(numbers[id]).visits = 1
			}
		}
		if things.n != len(seen) || people.len() != len(numbers) {
			t.Errorf("seed %d: %d things and %d visitors, want %d and %d", seed, things.n, people.len(), len(seen), len(numbers))
		}
		for key, page := range seen {
			if s := things.find(key); s == nil || s.page != page {
				t.Fatalf("seed %d: thing %x is lost", seed, key)
			}
		}
		if size := things.bytes; size < things.n*seenSize || size > 8*things.n*seenSize {
			t.Errorf("seed %d: %d things take %d bytes", seed, things.n, size)
		}
	}
}

// What ends a visit is the pause, never that it was let go; and what a visitor is booked with outlives that.
func TestIdleVisitsAreLetGo(t *testing.T) {
	for _, eager := range []bool{false, true} {
		tab := newTable(1)
		for i := range int64(100) {
			for p := range 3 {
				mustRecord(t, tab, ID(i), view(i, fmt.Sprint("/", p)))
			}
		}
		if tab.visits.len() != 100 || tab.pages.len() != 300 {
			t.Fatalf("%d visits and %d pages are held", tab.visits.len(), tab.pages.len())
		}
		const later = 2*Timeout + 50 // half of them have been idle for longer than they are held
		if eager {
			tab.Fold(later * 1000)
		} else {
			for range 60 { // new visits of someone else do it too
				mustRecord(t, tab, 1000, view(later, "/"))
				tab.visits.at(tab.visitors.at(tab.visitors.find(1000)).open).end -= Timeout*1000 + 1
			}
		}
		held := 0
		for i := range int64(100) {
			if tab.open(tab.visitors.at(tab.visitors.find(ID(i)))) != nil {
				held++
			}
		}
		if held != 50 {
			t.Errorf("eager %v: %d visits are held, want 50", eager, held)
		}
		if eager && tab.pages.len() != 150 {
			t.Errorf("%d pages are held, want 150", tab.pages.len())
		}
		for _, id := range []ID{0, 99} {
			c := mustRecord(t, tab, id, view(later, "/2"))
			if !c.NewVisit || c.NewVisitor || c.First.Entry != "/0" || c.First.Exit != "/2" || c.First.Hostname != "example.com" || c.First != c.FirstBefore ||
				c.PreviousToday != "/2" || c.PreviousInVisit != "" || !c.It.Visit || c.It.Today || !c.Host.Visit || c.Host.Today {
				t.Errorf("eager %v, visitor %d: %+v", eager, id, c)
			}
		}
	}
}

// An engagement of a visit that was let go finds nothing, also where another visit has the place of its page.
func TestEngagementOfAVisitLetGo(t *testing.T) {
	tab := newTable(1)
	mustRecord(t, tab, 1, view(0, "/"))
	tab.Fold(2*Timeout*1000 + 1)
	mustRecord(t, tab, 2, view(2*Timeout, "/"))
	if _, _, err := tab.Record(1, &testHit{Kind: Engagement, At: 1000, Path: "/", Scroll: 10}); err != ErrNoVisit {
		t.Errorf("the error is %v", err)
	}
}

// Only clocks that jump make hundreds of visits a day. All are counted, and none gets an engagement of another.
func TestEndlessVisits(t *testing.T) {
	tab := newTable(1)
	at := func(i int) int64 { return int64(i%2) * 3 * Timeout } // there and back
	for i := range 300 {
		if c := mustRecord(t, tab, 1, view(at(i), "/a")); !c.NewVisit {
			t.Fatalf("hit %d begins no visit", i)
		}
		tab.Fold((at(i) + 6*Timeout) * 1000)
	}
	if c := mustRecord(t, tab, 1, view(0, "/b")); !c.NewVisit {
		t.Fatal("the last hit begins no visit")
	}
	if _, _, err := tab.Record(1, &testHit{Kind: Engagement, At: 1000, Path: "/a", Scroll: 10}); !errors.Is(err, ErrNoVisit) {
		t.Errorf("an engagement of an earlier visit: %v", err)
	}
	mustRecord(t, tab, 1, testHit{Kind: Engagement, At: 1000, Path: "/b", Scroll: 10})
}

// A batch may be too large to be stored while later ones are: then an earlier hit is taken back, and not the later one.
func TestRevertOfEarlierHit(t *testing.T) {
	tab := newTable(1)
	mustRecord(t, tab, 1, view(0, "/"))
	first := view(1, "/a")
	_, undo, _ := tab.Record(1, &first)
	mustRecord(t, tab, 1, view(2, "/b"))
	tab.Revert(&undo)
	for path, known := range map[string]bool{"/": true, "/a": false, "/b": true} {
		if _, _, err := tab.Record(1, &testHit{Kind: Engagement, At: 3000, Path: path, Scroll: 10}); (err == nil) != known {
			t.Errorf("an engagement of %s: %v", path, err)
		}
	}
	tab.Fold(3 * Timeout * 1000)
	if tab.pages.len() != 0 || tab.visits.len() != 0 {
		t.Errorf("%d pages and %d visits are held for nothing", tab.pages.len(), tab.visits.len())
	}
}
