package storage

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// Values finds what a day has in small runs and in large ones, and nothing of other days, sites and tables.
func TestValues(t *testing.T) {
	const day, most = Day(20000), 3000
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { return day.Date().Add(12 * time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site, other := mustSite(t, db, "example.com"), mustSite(t, db, "example.org")
	want := make(map[string]bool)
	add := func(from, to int) {
		t.Helper()
		var rows []Row
		for i := from; i < to; i++ {
			path := fmt.Sprintf("/a-page-with-number-%d", i)
			rows = append(rows, pageView(site.ID, day, path, "DE")...)
			want[path] = true
		}
		rows = append(rows, pageView(site.ID, day+1, "/tomorrow", "FR")...)
		rows = append(rows, pageView(other.ID, day, "/other", "FR")...)
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	add(0, most) // more than is inline, and than one commit of rows has
	add(most-5, most+5)
	add(7, 8)
	got, countries := make(map[string]bool), make(map[string]bool)
	err = db.Values(site.ID, Hits, day, []Column{Path, Country, Region}, func(c Column, value string) bool {
		switch c {
		case Path:
			got[value] = true
		case Country:
			countries[value] = true
			return false
		case Region:
			if value != "" {
				t.Errorf("region %q", value)
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got, want) || !maps.Equal(countries, map[string]bool{"DE": true}) {
		t.Errorf("%d pages, want %d; countries %v", len(got), len(want), slices.Collect(maps.Keys(countries)))
	}
	calls := 0
	err = db.Values(site.ID, Hits, day, []Column{Path}, func(Column, string) bool { calls++; return calls < 10 })
	if err != nil || calls != 10 {
		t.Errorf("10 values were wanted, %d came: %v", calls, err)
	}
	if err := db.Values(site.ID, Hits, day, []Column{Exit}, nil); !errors.Is(err, ErrBadQuery) {
		t.Errorf("a column that the table does not have: %v", err)
	}
}
