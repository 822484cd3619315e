package visit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
)

type (
	testTable = Table[string, string]
	testHit   = Hit[string, string]
)

func newTable(seed byte) *testTable { return New[string, string]([32]byte{seed}) }

var someone = netip.MustParseAddr("192.0.2.1")

func view(at int64, path string) testHit {
	return testHit{At: at, Hour: uint8(at / 3600 % 24), Name: "pageview", Path: path, Hostname: "example.com", Scroll: -1}
}

func mustRecord(t *testing.T, tab *testTable, id ID, h testHit) Change[string, string] {
	t.Helper()
	c, _, ok := tab.Record(id, &h)
	if !ok {
		t.Fatal("hit was not recorded")
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
	for half := range 4 { // every part of the key counts
		var key [32]byte
		key[half*8] = 1
		same(New[string, string]([32]byte{}).ID(someone, "x"), New[string, string](key).ID(someone, "x"), false, fmt.Sprint("part of key ", half))
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
		"view, engagement":            {[]testHit{view(0, "/"), {Kind: Engagement, At: 9, Path: "/"}}, true},
		"event before a view, active": {[]testHit{event(true), view(0, "/")}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tab := newTable(1)
			var c Change[string, string]
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
	ping := func(at int64, path string, scroll int) (Change[string, string], bool) {
		c, _, ok := tab.Record(id, &testHit{Kind: Engagement, At: at, Path: path, Scroll: scroll})
		return c, ok
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

func TestClosedTableKnowsNobody(t *testing.T) {
	tab := newTable(1)
	id := tab.ID(someone, "Firefox")
	h := view(0, "/")
	_, undo, _ := tab.Record(id, &h)
	buf := tab.buf[:cap(tab.buf)]
	tab.Close()
	if tab.key != [4]uint64{} || tab.visitors != nil || tab.seen != nil {
		t.Errorf("something is left: %+v", tab)
	}
	for _, b := range buf {
		if b != 0 {
			t.Fatalf("the input of the last number is left: %q", buf)
		}
	}
	tab.Revert(&undo)
}

// TestRevertLeavesNoTrace reverts random hits, and compares what follows with a table that never had them.
func TestRevertLeavesNoTrace(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		with, without := newTable(1), newTable(1)
		random := func(at int64) (ID, testHit) {
			h := view(at, fmt.Sprintf("/%d", r.IntN(4)))
			h.Origin, h.Attributes = fmt.Sprint(r.IntN(3)), fmt.Sprint(r.IntN(3))
			switch r.IntN(4) {
			case 0:
				h.Kind, h.Name, h.Props = Event, fmt.Sprint(r.IntN(2)), fmt.Sprint(r.IntN(2))
			case 1:
				h.Kind, h.Scroll = Engagement, r.IntN(100)
			}
			return ID{uint64(r.IntN(5))}, h
		}
		at := int64(0)
		for range 300 {
			at += int64(r.IntN(600))
			var undos []Undo
			for range r.IntN(4) {
				id, h := random(at)
				if _, u, ok := with.Record(id, &h); ok {
					undos = append(undos, u)
				}
			}
			for i := len(undos) - 1; i >= 0; i-- {
				with.Revert(&undos[i])
			}
			id, h := random(at)
			got, _, gotOK := with.Record(id, &h)
			want, _, wantOK := without.Record(id, &h)
			if gotOK != wantOK || !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: after reverts\n%+v, %v\nwithout them\n%+v, %v", seed, got, gotOK, want, wantOK)
			}
		}
	}
}
