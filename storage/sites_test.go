package storage

import (
	"fmt"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// A query of one site among many reads no key of another: those are made unreadable here.
func TestSiteAmongManyReadsItsOwnKeys(t *testing.T) {
	const sites, days, first = 200, 3, Day(20000)
	dir := t.TempDir()
	db := mustOpen(t, dir)
	var all []Site
	for n := range sites {
		all = append(all, mustSite(t, db, fmt.Sprintf("site-%d.example", n)))
	}
	for day := range Day(days) {
		var rows []Row
		for n, s := range all {
			for view := range 1 + n%3 {
				rows = append(rows, pageView(s.ID, first+day, fmt.Sprintf("/%d", view), "DE")...)
			}
		}
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Settle(t.Context()); err != nil { // all days are over
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	one := all[sites/2]
	keys, err := db.keys([]byte{prefixHeader}, 0)
	if err != nil {
		t.Fatal(err)
	}
	err = db.update(func(txn *badger.Txn) error {
		for _, k := range keys {
			ref, err := parseHeaderKey(k)
			if err != nil {
				return err
			}
			if ref.site != one.ID {
				err = txn.Set(k, []byte{0})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	q := Query{From: first - 10, To: first + days + 10, Metrics: []Metric{PageViews, Visitors}}
	rollup, single := q, q
	rollup.GroupBy = []Column{Path}
	single.Filters = []Filter{is(Path, "/1")}
	for want, q := range map[string]Query{
		"2024-09-24/00 [] 6 6\n":                                   q,
		"2024-09-24/00 [\"/0\"] 3 3\n2024-09-24/00 [\"/1\"] 3 3\n": rollup,
		"2024-09-24/00 [] 3 3\n":                                   single,
	} {
		q.Site = one.ID
		if got := table(mustQuery(t, db, q)); got != want {
			t.Errorf("%+v:\n%s", q, got)
		}
		for _, s := range []Site{all[0], all[sites/2-1], all[sites/2+1], all[sites-1]} {
			q.Site = s.ID
			if _, err := db.Query(t.Context(), q); err == nil {
				t.Errorf("the keys of %s can be read", s.Domain)
			}
		}
	}
}
