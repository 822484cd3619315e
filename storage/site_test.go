package storage

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

func TestRemoveSiteLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	gone, kept := mustSite(t, db, "gone.example"), mustSite(t, db, "kept.example")
	for i := range 50 {
		for _, s := range []Site{gone, kept} {
			if err := db.Append(pageView(s.ID, 20000, fmt.Sprintf("/%d", i), "DE")...); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, secret, err := db.CreateToken(gone.ID, ScopeStats)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveSite("gone.example"); err != nil {
		t.Fatal(err)
	}
	if err := db.Append(pageView(gone.ID, 20000, "/late", "DE")...); err != nil {
		t.Errorf("a hit that was on its way: %v", err)
	}
	waitForNoKeys(t, db, gone.ID)
	if _, err := db.TokenOf(secret); !errors.Is(err, ErrNotFound) {
		t.Errorf("TokenOf = %v", err)
	}
	if err := db.RemoveSite("gone.example"); !errors.Is(err, ErrNotFound) {
		t.Errorf("RemoveSite twice = %v", err)
	}
	again := mustSite(t, db, "gone.example")
	if again.ID == gone.ID {
		t.Error("the number of a removed site is used again")
	}
	res := mustQuery(t, db, Query{Site: kept.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}})
	if got := table(res); got != "2024-10-04/00 [] 50\n" {
		t.Errorf("the other site has %s", got)
	}
}

// waitForNoKeys waits until nothing of a site is left; a merge that was under way clears up after itself.
func waitForNoKeys(t *testing.T, db *DB, site uint32) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, prefix := range []byte{prefixHeader, prefixChunk, prefixGarbage, prefixImport} {
			keys, err := db.keys(siteKeys(prefix, site), 0)
			if err != nil {
				t.Fatal(err)
			}
			left += len(keys)
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d keys of the removed site are left", left)
		}
	}
}

// TestRemovalThatWasInterrupted ends the process, as it were, between the record's removal and that of the data, and in
// the middle of an import into the site.
func TestRemovalThatWasInterrupted(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	gone, kept := mustSite(t, db, "gone.example"), mustSite(t, db, "kept.example")
	for _, s := range []Site{gone, kept} {
		if err := db.Append(pageView(s.ID, 20000, "/", "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	im, err := db.BeginImport(gone.ID)
	if err == nil {
		err = im.Append(pageView(gone.ID, 20000, "/imported", "DE")...)
	}
	if err == nil {
		err = db.update(func(txn *badger.Txn) error { return dropSiteRecord(txn, gone, nil) })
	}
	if err == nil {
		err = im.flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	db = mustOpen(t, dir)
	waitForNoKeys(t, db, gone.ID)
	res := mustQuery(t, db, Query{Site: kept.ID, From: 20000, To: 20000, Metrics: []Metric{PageViews}})
	if got := table(res); got != "2024-10-04/00 [] 1\n" {
		t.Errorf("the other site has %s", got)
	}
	if keys, err := db.keys(recordKey(recordRemoved, ""), 0); err != nil || len(keys) != 0 {
		t.Errorf("%d removals are not done, %v", len(keys), err)
	}
}
