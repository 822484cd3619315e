package storage

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
)

func TestImportCountsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	site := mustSite(t, db, "example.com")
	views := func() string {
		return table(mustQuery(t, db, Query{Site: site.ID, From: 20000, To: 20002, Metrics: []Metric{Visitors, PageViews}}))
	}
	begin := func() *Import {
		im, err := db.BeginImport(site.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := im.Append(pageView(site.ID, Day(20000+i%3), fmt.Sprintf("/%d", i), "DE")...); err != nil {
				t.Fatal(err)
			}
		}
		if err := im.flush(); err != nil { // runs are on disk, invisible
			t.Fatal(err)
		}
		return im
	}
	const none, all, twice = "2024-10-04/00 [] 0 0\n", "2024-10-04/00 [] 1000 1000\n", "2024-10-04/00 [] 2000 2000\n"
	print := Fingerprint{Bytes: 1, Lines: 2, First: 20000, Last: 20002, Checksum: 3}

	im := begin()
	if got := views(); got != none {
		t.Errorf("before Commit: %s", got)
	}
	if err := im.Rollback(); err != nil {
		t.Fatal(err)
	}
	begin() // as if the process ended here
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	for _, prefix := range []byte{prefixHeader, prefixChunk, prefixGarbage} {
		if keys, err := db.keys([]byte{prefix}, 0); err != nil || len(keys) != 0 {
			t.Errorf("%d keys %c are left of imports that never counted, %v", len(keys), prefix, err)
		}
	}
	if err := begin().Commit(print, false); err != nil {
		t.Fatal(err)
	}
	if got := views(); got != all {
		t.Errorf("after Commit: %s", got)
	}
	im = begin()
	if err := im.Commit(print, false); !errors.Is(err, ErrImported) {
		t.Errorf("second Commit = %v", err)
	}
	if err := im.Rollback(); err != nil {
		t.Fatal(err)
	}
	if got := views(); got != all {
		t.Errorf("after the refused Commit: %s", got)
	}
	if err := begin().Commit(print, true); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	if got := views(); got != twice {
		t.Errorf("after Commit again and reopening: %s", got)
	}
}

// TestImportIntoRemovedSite commits an import after its site has gone.
func TestImportIntoRemovedSite(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	im, err := db.BeginImport(site.ID)
	if err == nil {
		err = im.Append(pageView(site.ID, 20000, "/", "DE")...)
	}
	if err == nil {
		err = im.flush()
	}
	if err == nil {
		err = db.RemoveSite("example.com")
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Commit(Fingerprint{}, false); !errors.Is(err, ErrNotFound) {
		t.Errorf("Commit = %v", err)
	}
	if err := im.Rollback(); err != nil {
		t.Fatal(err)
	}
	waitForNoKeys(t, db, site.ID)
}

// TestImportOfTwoYears imports 60 page views a day: small runs, and many of them.
func TestImportOfTwoYears(t *testing.T) {
	var today atomic.Int64
	today.Store(20001)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	im, err := db.BeginImport(site.ID)
	if err != nil {
		t.Fatal(err)
	}
	for d := range Day(730) {
		for i := range 60 {
			rows := pageView(site.ID, 20000-d, fmt.Sprintf("/articles/some-title-%d", (i*7+int(d))%90), []string{"DE", "FR", "US"}[i%3])
			for k := range rows {
				rows[k].Dims[Referrer] = fmt.Sprintf("news.example/item/%d", i*13)
			}
			if err := im.Append(at(rows, i%24)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := im.Commit(Fingerprint{}, false); err != nil {
		t.Errorf("commit: %v", err)
		im.Rollback()
	}
}
