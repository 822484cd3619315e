package visit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// text is what tests take for attributes and origins.
type text string

func (s text) TextSize() int { return len(s) }

type (
	testTable  = Table[text, text]
	testHit    = Hit[text, text]
	testChange = Change[text, text]
)

func keyOf(seed byte) []byte { return append([]byte{seed}, make([]byte, KeySize-1)...) }

func newTable(seed byte) *testTable { return New[text, text](keyOf(seed)) }

var someone = netip.MustParseAddr("192.0.2.1")

// view makes a page view at a time in seconds.
func view(at int64, path string) testHit {
	return testHit{At: at * 1000, Hour: uint8(at / 3600 % 24), Name: "pageview", Path: path, Hostname: "example.com", Scroll: -1}
}

func mustRecord(t *testing.T, tab *testTable, id ID, h testHit) testChange {
	t.Helper()
	c, _, err := tab.Record(id, &h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIDTellsVisitorsApart(t *testing.T) {
	tab := newTable(1)
	id := func(addr, ua string) ID { return tab.ID(netip.MustParseAddr(addr), ua) }
	same := func(a, b ID, want bool, what string) {
		t.Helper()
		if (a == b) != want {
			t.Errorf("%s: equal is %v, want %v", what, a == b, want)
		}
	}
	one := id("192.0.2.1", "Firefox")
	same(one, id("192.0.2.1", "Firefox"), true, "same client")
	same(one, id("::ffff:192.0.2.1", "Firefox"), true, "IPv4 in IPv6")
	same(one, id("192.0.2.2", "Firefox"), false, "other address")
	same(one, id("192.0.2.1", "Chrome"), false, "other user agent")
	same(id("2001:db8::1", "x"), id("2001:db8::ffff:1", "x"), true, "same /64")
	same(id("2001:db8::1%eth0", "x"), id("2001:db8::1", "x"), true, "zone")
	same(id("2001:db8:0:1::1", "x"), id("2001:db8:0:2::1", "x"), false, "other /64")
	same(one, newTable(2).ID(someone, "Firefox"), false, "other key")
	for part := range 4 { // half of the key is for visitors, half for what they see
		key := make([]byte, KeySize)
		key[part*8] = 1
		zero, other := newTable(0), New[text, text](key)
		same(zero.ID(someone, "x"), other.ID(someone, "x"), part >= 2, fmt.Sprint("part of key ", part))
		if v := new(visitor); (zero.thing(v, seenEvent, "x") == other.thing(v, seenEvent, "x")) != (part < 2) {
			t.Errorf("part %d of the key counts in the wrong half", part)
		}
	}
}

func TestVisitEndsAfterThirtyMinutes(t *testing.T) {
	tab := newTable(1)
	id := tab.ID(someone, "x")
	steps := []struct {
		at       int64
		newVisit bool
	}{{0, true}, {Timeout, false}, {2 * Timeout, false}, {3*Timeout + 1, true}, {3*Timeout - 10, false}, {Timeout, true}}
	for _, s := range steps {
		if c := mustRecord(t, tab, id, view(s.at, "/")); c.NewVisit != s.newVisit {
			t.Errorf("hit at %d: new visit is %v, want %v", s.at, c.NewVisit, s.newVisit)
		}
	}
}

func TestBounceEndsWithSecondViewOrInteractiveEvent(t *testing.T) {
	event := func(interactive bool) testHit {
		return testHit{Kind: Event, Name: "Buy", Path: "/", Hostname: "example.com", Interactive: interactive}
	}
	tests := map[string]struct {
		hits []testHit
		want bool
	}{
		"one view":                    {[]testHit{view(0, "/")}, true},
		"two views":                   {[]testHit{view(0, "/"), view(1, "/")}, false},
		"view and event":              {[]testHit{view(0, "/"), event(true)}, false},
		"view and silent event":       {[]testHit{view(0, "/"), event(false)}, true},
		"event alone":                 {[]testHit{event(true)}, false},
		"silent event before a view":  {[]testHit{event(false), view(0, "/")}, true},
		"view, engagement":            {[]testHit{view(0, "/"), {Kind: Engagement, At: 9000, Path: "/"}}, true},
		"event before a view, active": {[]testHit{event(true), view(0, "/")}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tab := newTable(1)
			var c testChange
			for _, h := range tt.hits {
				c = mustRecord(t, tab, tab.ID(someone, "x"), h)
			}
			if c.After.Bounce != tt.want {
				t.Errorf("bounce is %v, want %v", c.After.Bounce, tt.want)
			}
		})
	}
}

func TestEngagementNeedsItsPage(t *testing.T) {
	tab := newTable(1)
	id := tab.ID(someone, "x")
	ping := func(at int64, path string, scroll int) (testChange, bool) {
		c, _, err := tab.Record(id, &testHit{Kind: Engagement, At: at * 1000, Path: path, Scroll: scroll})
		if err != nil && !errors.Is(err, ErrNoVisit) {
			t.Error(err)
		}
		return c, err == nil
	}
	if _, ok := ping(0, "/", 10); ok {
		t.Error("engagement of an unknown visitor was recorded")
	}
	mustRecord(t, tab, id, view(0, "/"))
	if _, ok := ping(1, "/other", 10); ok {
		t.Error("engagement of a page that was not seen was recorded")
	}
	c, ok := ping(10, "/", 30)
	if !ok || c.Scrolled != 30 || !c.FirstScroll || c.After.Seconds != 10 || c.After.PageViews != 1 {
		t.Errorf("first engagement: %+v, %v", c, ok)
	}
	if c, ok = ping(20, "/", 20); !ok || c.Scrolled != 0 || c.FirstScroll {
		t.Errorf("less deep: %+v, %v", c, ok)
	}
	if c, ok = ping(30, "/", 200); !ok || c.Scrolled != 70 || c.FirstScroll {
		t.Errorf("deeper than the page: %+v, %v", c, ok)
	}
	if _, ok = ping(30+Timeout+1, "/", 50); ok {
		t.Error("engagement after the visit's end was recorded")
	}
}

// A page, an event and a hostname may have the same name, and two visitors see each thing for the first time.
func TestThingsAreKeptApart(t *testing.T) {
	tab := newTable(1)
	const name = "same"
	for _, id := range []ID{1, 2} {
		for i, h := range []testHit{
			{Kind: Event, Name: name, Hostname: "example.com"},
			{Kind: Event, Name: "same\x00", Hostname: "example.com"},
			{Path: name, Hostname: "example.com"},
			{Path: "other", Hostname: name},
		} {
			if _, _, err := tab.Record(id, &testHit{Kind: Engagement, Path: name}); i < 3 && !errors.Is(err, ErrNoVisit) {
				t.Errorf("%v, hit %d: an engagement before its page: %v", id, i, err)
			}
			c := mustRecord(t, tab, id, h)
			if !c.It.Today || c.Host.Today != (i == 0 || i == 3) {
				t.Errorf("%v, hit %d: new are %+v, host %+v", id, i, c.It, c.Host)
			}
			if c = mustRecord(t, tab, id, h); c.It.Today || c.Props.Today || c.Host.Today {
				t.Errorf("%v, hit %d again: new are %+v, %v, host %+v", id, i, c.It, c.Props, c.Host)
			}
		}
	}
}

// The time that a page claims is believed as far as it has passed since the page was first seen in the visit.
func TestEngagedTimeHasPassed(t *testing.T) {
	type step struct {
		at      int64 // milliseconds
		path    string
		claim   int64 // -1: a page view
		believe int64
	}
	tests := map[string][]step{
		"honest":                   {{0, "/a", -1, 0}, {5000, "/a", 5000, 5000}, {9000, "/a", 2500, 2500}, {9100, "/a", 100, 100}},
		"forged":                   {{0, "/a", -1, 0}, {78 * 60, "/a", 2_500_000_000, 78 * 60}, {78 * 60, "/a", 1000, 0}},
		"negative":                 {{0, "/a", -1, 0}, {5000, "/a", -9000, 0}, {6000, "/a", 9000, 6000}},
		"after the next page":      {{0, "/a", -1, 0}, {60_000, "/b", -1, 0}, {60_200, "/a", 60_000, 60_000}},
		"after a reload":           {{0, "/a", -1, 0}, {60_000, "/a", -1, 0}, {60_200, "/a", 60_000, 60_000}, {70_000, "/a", 9000, 9000}},
		"in the wrong order":       {{0, "/a", -1, 0}, {60_000, "/a", 20_000, 20_000}, {60_001, "/a", 40_000, 40_000}, {60_002, "/a", 9, 2}},
		"two pages, each its time": {{0, "/a", -1, 0}, {1000, "/b", -1, 0}, {9000, "/a", 99_000, 9000}, {9000, "/b", 99_000, 8000}},
		"a clock that goes back":   {{5000, "/a", -1, 0}, {1000, "/a", 3000, 0}, {9000, "/a", 3000, 3000}},
		"the next visit":           {{0, "/a", -1, 0}, {Timeout*1000 + 1, "/a", -1, 0}, {Timeout*1000 + 5001, "/a", 9_000_000, 5000}},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			tab := newTable(1)
			for i, s := range steps {
				h := testHit{At: s.at, Path: s.path, Hostname: "example.com"}
				if s.claim != -1 {
					h.Kind, h.Engaged, h.Scroll = Engagement, s.claim, -1
				}
				if c := mustRecord(t, tab, ID(1), h); c.Engaged != s.believe {
					t.Errorf("step %d: %d of %d ms are believed, want %d", i, c.Engaged, s.claim, s.believe)
				}
			}
		})
	}
}

// Logs are not strictly in order: an earlier hit moves the start of the visit, and never its end.
func TestHitsInNoOrderOfTime(t *testing.T) {
	tab := newTable(1)
	for i, s := range []struct{ at, seconds int64 }{{1000, 0}, {900, 100}, {950, 100}, {1010, 110}, {900 - Timeout, 110 + Timeout}} {
		if c := mustRecord(t, tab, ID(1), view(s.at, "/")); c.NewVisit != (i == 0) || c.After.Seconds != s.seconds {
			t.Errorf("hit at %d: new visit is %v, it lasts %d s, want %d", s.at, c.NewVisit, c.After.Seconds, s.seconds)
		}
	}
}

func TestClosedTableKnowsNobody(t *testing.T) {
	key := keyOf(1)
	tab := New[text, text](key)
	id := tab.ID(someone, "Firefox")
	h := view(0, "/")
	_, undoNew, _ := tab.Record(id, &h)
	_, undoKnown, _ := tab.Record(id, &h)
	buf, visitors, index, visits, pages := tab.buf[:cap(tab.buf)], tab.visitors.chunks[0], tab.visitors.index, tab.visits.chunks[0], tab.pages.chunks[0]
	slots := tab.seen.dir[0].slots
	tab.Close()
	for what, zero := range map[string]bool{
		"key": isZero(key), "input": isZero(buf), "visitors": isZero(visitors), "index": isZero(index), "visits": isZero(visits),
		"pages": isZero(pages), "what was seen": isZero(slots),
	} {
		if !zero {
			t.Errorf("%s is left", what)
		}
	}
	if !reflect.DeepEqual(tab, new(testTable)) {
		t.Errorf("something is left: %+v", tab)
	}
	tab.Revert(&undoKnown) // as a commit that fails at midnight does
	tab.Revert(&undoNew)
	if tab.Visitors() != 0 {
		t.Error("a closed table knows a visitor again")
	}
}

func isZero[T comparable](all []T) bool {
	for _, v := range all {
		if v != *new(T) {
			return false
		}
	}
	return len(all) > 0
}

// Where the buffer of a number's input has to grow, nothing may stay behind in the old one.
func TestInputOfNumbersIsOverwritten(t *testing.T) {
	tab := newTable(1)
	v := &visitor{lo: 0x01020304}
	for n := 1; n < 1<<16; n *= 3 {
		before := tab.buf[:cap(tab.buf)]
		tab.ID(someone, strings.Repeat("x", n))
		after := tab.buf[:cap(tab.buf)]
		tab.thing(v, seenProps, strings.Repeat("y", n), strings.Repeat("z", n))
		for i, buf := range [][]byte{before, after, tab.buf[:cap(tab.buf)]} {
			if strings.Trim(string(buf), "\x00") != "" {
				t.Fatalf("user agent of %d bytes: buffer %d holds %.40q", n, i, buf)
			}
		}
	}
}

// TestRevertLeavesNoTrace reverts random hits, and compares what follows with a table that never had them.
func TestRevertLeavesNoTrace(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		with, without := newTable(1), newTable(1)
		random := func(at int64) (ID, testHit) {
			h := view(at, fmt.Sprintf("/%d", r.IntN(4)))
			h.Origin, h.Attributes = text(fmt.Sprint(r.IntN(3))), text(fmt.Sprint(r.IntN(3)))
			switch r.IntN(4) {
			case 0:
				h.Kind, h.Name, h.Props = Event, fmt.Sprint(r.IntN(2)), fmt.Sprint(r.IntN(2))
			case 1:
				h.Kind, h.Scroll, h.Engaged = Engagement, r.IntN(100), r.Int64N(900_000)
			}
			return ID(r.IntN(5)), h
		}
		at := int64(0)
		for range 300 {
			at += int64(r.IntN(600))
			var undos []Undo
			for range r.IntN(4) {
				id, h := random(at)
				if _, u, err := with.Record(id, &h); err == nil {
					undos = append(undos, u)
				}
			}
			for i := len(undos) - 1; i >= 0; i-- {
				with.Revert(&undos[i])
			}
			id, h := random(at)
			got, _, gotErr := with.Record(id, &h)
			want, _, wantErr := without.Record(id, &h)
			if gotErr != wantErr || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: after reverts\n%+v, %v\nwithout them\n%+v, %v", seed, got, gotErr, want, wantErr)
			}
		}
		with.Fold(at * 1000)
		without.Fold(at * 1000)
		if with.pages.len() != without.pages.len() || with.visits.len() != without.visits.len() || with.seen.n != without.seen.n {
			t.Errorf("seed %d: %d pages, %d visits and %d things are held, without reverts %d, %d and %d", seed,
				with.pages.len(), with.visits.len(), with.seen.n, without.pages.len(), without.visits.len(), without.seen.n)
		}
	}
}
