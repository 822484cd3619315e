package dashboard

import (
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"dachs/storage"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// TestChartGolden compares whole drawings with testdata; run with -rewrite after a wanted change and look at it.
func TestChartGolden(t *testing.T) {
	b := newBoard(t, Options{Open: true})
	now := b.now.In(zone(t, "Europe/Berlin")) // 16:20
	counts := func(visitors, views float64) []storage.Value {
		return []storage.Value{{Number: visitors}, {Number: views}}
	}
	f := func(name, period string, first storage.Day, rows ...storage.ResultRow) {
		t.Helper()
		p, err := ParsePeriod(period, "", "", now, first)
		if err != nil {
			t.Fatal(err)
		}
		c := newChart(state{domain: "shop.example", period: p}, answer{res: storage.Result{Rows: rows}}, now)
		got, err := b.server.pages.execute("report", "plot", c)
		if err != nil {
			t.Fatal(err)
		}
		checkXML(t, name, string(got))
		file := "testdata/" + name + ".svg"
		if *rewrite {
			if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("%s differs from the golden file:\n%s", name, got)
		}
	}
	today := b.today()
	f("hours", "day", today, storage.ResultRow{Day: today, Hour: 9, Values: counts(3, 7)}, storage.ResultRow{Day: today, Hour: 16, Values: counts(1, 1)})
	f("days", "7d", today, storage.ResultRow{Day: today - 6, Values: counts(120, 340)}, storage.ResultRow{Day: today - 4, Values: counts(1275, 2100)},
		storage.ResultRow{Day: today, Values: counts(15, 20)})
	f("months", "12mo", today-300, storage.ResultRow{Day: storage.DateDay(2026, 1, 1), Values: counts(10, 11)},
		storage.ResultRow{Day: storage.DateDay(2026, 11, 1), Values: []storage.Value{{Number: 9, Low: 8, AtMost: true}, {Number: 12}}})
	f("nothing", "7d", today)
}

// checkXML fails if a drawing is not well-formed.
func checkXML(tb testing.TB, name, svg string) {
	tb.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			tb.Fatalf("%s is not well-formed: %v", name, err)
		}
	}
}

// TestChartEndsNow: hours to come are not drawn as zero, and the present one is marked as unfinished.
func TestChartEndsNow(t *testing.T) {
	today := storage.DateDay(2026, 11, 23)
	now := time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)
	f := func(day storage.Day, known, partial int) {
		t.Helper()
		_, buckets := emptyBuckets(state{period: newPeriod(custom, day, day)}, now)
		gotKnown, gotPartial := 0, 0
		for _, b := range buckets {
			if b.Known {
				gotKnown++
			}
			if b.Partial {
				gotPartial++
			}
		}
		if len(buckets) != 24 || gotKnown != known || gotPartial != partial {
			t.Errorf("%s: %d buckets, %d known, %d partial", day, len(buckets), gotKnown, gotPartial)
		}
	}
	f(today, 11, 1)
	f(today-1, 24, 0)
	f(today+1, 0, 0)
	c := newChart(state{period: newPeriod(custom, today+1, today+3)}, answer{}, now)
	if c.Line != "" || c.Area != "" {
		t.Error("days to come have a line")
	}
}

// TestUnfinishedStretchIsApart: both lines end before a bucket that is not over, and are led on to it.
func TestUnfinishedStretchIsApart(t *testing.T) {
	today := storage.DateDay(2026, 11, 23)
	now := time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC)
	c := newChart(state{period: newPeriod(custom, today-2, today)}, answer{}, now)
	for _, path := range [][2]string{{c.Line, c.LineRest}, {c.Views, c.ViewsRest}} {
		if path != [2]string{"M5 200L15 200", "M15 200L25 200"} {
			t.Errorf("up to the last whole day %q, then %q", path[0], path[1])
		}
	}
	c = newChart(state{period: newPeriod(custom, today-3, today-1)}, answer{}, now)
	if c.LineRest != "" || c.ViewsRest != "" || c.Line != "M5 200L15 200L25 200" || c.Views != c.Line {
		t.Errorf("whole days are drawn as unfinished: %q, %q", c.LineRest, c.ViewsRest)
	}
}

// TestBucketLinks: the months at the ends of a period lead to the days of it that they hold.
func TestBucketLinks(t *testing.T) {
	st := state{domain: "shop.example", period: newPeriod(custom, storage.DateDay(2026, 1, 10), storage.DateDay(2026, 5, 20))}
	_, buckets := emptyBuckets(st, time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC))
	for i, want := range map[int]string{0: "from=2026-01-10&to=2026-01-31", 1: "from=2026-02-01&to=2026-02-28", 4: "from=2026-05-01&to=2026-05-20"} {
		if !strings.HasSuffix(buckets[i].Link, want) {
			t.Errorf("bucket %d leads to %s, want %s", i, buckets[i].Link, want)
		}
	}
}
