package visit

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
)

// ten is a value of the size of real attributes.
type ten [10]string

func (v ten) TextSize() (n int) {
	for _, s := range v {
		n += len(s)
	}
	return n
}

type tenHit = Hit[ten, ten]

// heap returns how many bytes the program holds.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// measure lets a table grow and returns by how much it says it grew, and by how much it did.
func measure(t *testing.T, n int, hit func(i int) (ID, tenHit)) (estimate, real int) {
	t.Helper()
	tab := New[ten, ten](keyOf(1))
	before := heap()
	for i := range n {
		id, h := hit(i)
		if _, _, err := tab.Record(id, &h); err != nil {
			t.Fatal(err)
		}
	}
	real = heap() - before
	runtime.KeepAlive(tab)
	return tab.Size(), real
}

// The budget holds only if the estimate is near what the table really takes, whatever it is full of.
func TestEstimateOfMemory(t *testing.T) {
	for name, hit := range map[string]func(i int) (ID, tenHit){
		"visitors": func(i int) (ID, tenHit) { return ID(i), tenHit{Path: "/", Hostname: "example.com"} },
		"paths": func(i int) (ID, tenHit) {
			return ID(1), tenHit{Path: fmt.Sprint("/", i), Hostname: "example.com"}
		},
		"long paths": func(i int) (ID, tenHit) {
			return ID(1), tenHit{Path: fmt.Sprintf("/%2000d", i), Hostname: "example.com"}
		},
		"hostnames": func(i int) (ID, tenHit) {
			return ID(i), tenHit{Path: "/", Hostname: fmt.Sprint(i, ".example.com")}
		},
		"known pages": func(i int) (ID, tenHit) {
			return ID(i / 100), tenHit{Path: fmt.Sprint("/", i%100), Hostname: "example.com"}
		},
		"events": func(i int) (ID, tenHit) {
			return ID(1), tenHit{Kind: Event, Name: fmt.Sprint(i), Props: strings.Repeat("x", 1000), Hostname: "example.com"}
		},
		"origins": func(i int) (ID, tenHit) {
			return ID(i), tenHit{Path: "/", Hostname: "example.com", Origin: ten{3: fmt.Sprintf("%200d", i)}}
		},
		"attributes": func(i int) (ID, tenHit) {
			return ID(i), tenHit{Path: "/", Hostname: "example.com", Attributes: ten{5: fmt.Sprint(i)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			estimate, real := measure(t, 20_000, hit)
			t.Logf("estimate %d, real %d, %.2f", estimate, real, float64(estimate)/float64(real))
			if estimate < real*8/10 || estimate > real*2 {
				t.Errorf("the estimate is %d bytes, the truth is %d", estimate, real)
			}
		})
	}
}

// A program that sends ever new properties, names and engagements must not fill the memory: of an event a few bytes are
// kept whatever it says, of an engagement nothing.
func TestBigEventsTakeLittle(t *testing.T) {
	tab := newTable(1)
	mustRecord(t, tab, ID(1), view(0, "/"))
	before, estimate := heap(), tab.Size()
	for i := range 1000 {
		big := fmt.Sprintf("%060000d", i)
		mustRecord(t, tab, ID(1), testHit{Kind: Event, Name: big[:120], Props: big, Path: big, Hostname: "example.com"})
		if _, _, err := tab.Record(ID(1), &testHit{Kind: Engagement, Path: big}); !errors.Is(err, ErrNoVisit) {
			t.Fatal(err)
		}
		if _, _, err := tab.Record(ID(2), &testHit{Kind: Engagement, Path: big}); !errors.Is(err, ErrNoVisit) {
			t.Fatal(err)
		}
	}
	if real, estimate := heap()-before, tab.Size()-estimate; real > 500_000 || estimate > 500_000 {
		t.Errorf("1000 events take %d bytes, by the estimate %d", real, estimate)
	}
	runtime.KeepAlive(tab)
}

func TestFullTableRefuses(t *testing.T) {
	tab := newTable(1)
	// Texts of a table's names count in full, but here they share their memory.
	long := strings.Repeat("x", 1<<20)
	n := 0
	for ; n < 2*Budget/len(long); n++ {
		h := view(0, long[n:])
		if _, _, err := tab.Record(ID(1), &h); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if n < Budget/len(long)/2 || n > Budget/len(long)+1 {
		t.Errorf("%d names of a MiB had room in %d bytes", n, Budget)
	}
	before := *tab
	for _, h := range []testHit{view(0, "/new"), view(0, long[1:]), {Kind: Event, Name: "Buy"}} {
		for _, id := range []ID{1, 2} {
			if c, _, err := tab.Record(id, &h); !errors.Is(err, ErrFull) || c != (testChange{}) {
				t.Errorf("%.20q of %v is recorded: %v, %v", h.Path, id, c.NewVisitor, err)
			}
		}
	}
	if tab.Size() != before.Size() || tab.Visitors() != 1 || tab.seen.n != n+1 {
		t.Error("a refused hit has changed the table")
	}
	// What is open may end: it takes nothing.
	mustRecord(t, tab, ID(1), testHit{Kind: Engagement, At: 1000, Path: long[1:], Scroll: 10})
}

// Reverted hits leave nothing behind that could add up: whoever has hits refused for hours takes no more room than once.
func TestRevertLeavesNoRoomTaken(t *testing.T) {
	tab := newTable(1)
	h := view(0, "/")
	h.Attributes, h.Origin = "a", "o"
	_, undo, _ := tab.Record(1, &h)
	tab.Revert(&undo)
	if tab.seen.n != 0 || tab.Visitors() != 0 || tab.visits.len() != 0 || tab.pages.len() != 0 {
		t.Fatalf("after the revert: %d things, %d visitors, %d visits, %d pages", tab.seen.n, tab.Visitors(), tab.visits.len(), tab.pages.len())
	}
	mustRecord(t, tab, 1, h)
	round := func() {
		for _, h := range []testHit{h, {Kind: Event, Name: "Buy", Props: "x", Hostname: "example.com"}, {Kind: Engagement, Path: "/"}} {
			for id := range ID(3) {
				if _, undo, err := tab.Record(id, &h); err == nil {
					tab.Revert(&undo)
				}
			}
		}
	}
	round()
	before := tab.Size()
	for range 1000 {
		round()
	}
	if tab.Size() != before || tab.seen.n != 2 || tab.Visitors() != 1 || tab.visits.len() != 1 || tab.pages.len() != 1 {
		t.Errorf("%d bytes after reverts, %d before; %d things, %d visitors, %d visits, %d pages",
			tab.Size(), before, tab.seen.n, tab.Visitors(), tab.visits.len(), tab.pages.len())
	}
}

// BenchmarkRecord is a day of 50,000 visitors and 500 pages. It shows the cost of a hit and of a visitor.
func BenchmarkRecord(b *testing.B) {
	tab := newTable(1)
	paths := make([]string, 500)
	for i := range paths {
		paths[i] = fmt.Sprintf("/blog/2024/a-post-about-something-%d", i)
	}
	const userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	before := heap()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		addr := netip.AddrFrom4([4]byte{192, 0, byte((i >> 8) % 195), byte(i)})
		h := view(int64(i/100), paths[i*7919%500])
		if _, _, err := tab.Record(tab.ID(addr, userAgent), &h); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(heap()-before)/float64(tab.Visitors()), "B/visitor")
	b.ReportMetric(float64(tab.seen.n)/float64(tab.Visitors()), "things/visitor")
	runtime.KeepAlive(tab)
}

// BenchmarkRecordKnown is the cost of a hit where visitor, page and origin are known, among 50,000 visitors with 10 of 500 pages each.
func BenchmarkRecordKnown(b *testing.B) {
	tab := New[ten, ten](keyOf(1))
	const userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	hit := func(i int) {
		visitor, page := i%50_000, (i/50_000*41+i%459)%500
		addr := netip.AddrFrom4([4]byte{192, 0, byte(visitor >> 8), byte(visitor)})
		h := tenHit{Path: paths500[page], Hostname: "example.com", Name: "pageview", Scroll: -1, Origin: ten{"Google", "Organic Search", "google.com/"},
			Attributes: ten{"DE", "", "", "Firefox", "140", "Linux", "", "Desktop", "", "de"}}
		if _, _, err := tab.Record(tab.ID(addr, userAgent), &h); err != nil {
			b.Fatal(err)
		}
	}
	const all = 500_000
	for i := range all {
		hit(i)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		hit(i)
		i = (i + 1) % all
	}
	b.ReportMetric(float64(tab.Size())/float64(tab.Visitors()), "B/visitor")
	b.ReportMetric(float64(tab.visitors.bytes)/float64(tab.Visitors()), "B/visitor-entry")
	b.ReportMetric(float64(tab.seen.bytes)/float64(tab.seen.n), "B/thing")
}

var paths500 = func() (p [500]string) {
	for i := range p {
		p[i] = fmt.Sprintf("/blog/2024/a-post-about-something-%d", i)
	}
	return p
}()
