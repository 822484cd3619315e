package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	sst "github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/dgraph-io/ristretto/v2/z"
)

// inFiles calls fn with every key and value that lies in the tables of a store, whatever became of them since. The store
// may be open: files are copied first.
func inFiles(t *testing.T, dir string, fn func(file string, key []byte, version uint64, value []byte)) {
	t.Helper()
	copied := t.TempDir()
	names, err := filepath.Glob(filepath.Join(dir, badgerDir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) || len(content) == 0 {
			continue // deleted just now, or being made
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(copied, filepath.Base(name))
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := z.OpenMmapFile(to, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		tab, err := sst.OpenTable(f, sst.Options{ChkMode: options.OnTableAndBlockRead})
		if err != nil {
			t.Fatal(err)
		}
		it := tab.NewIterator(0)
		for it.Rewind(); it.Valid(); it.Next() {
			fn(filepath.Base(name), y.ParseKey(it.Key()), y.ParseTs(it.Key()), it.Value().Value)
		}
		it.Close()
		if err := tab.DecrRef(); err != nil {
			t.Fatal(err)
		}
	}
}

// onlyLive fails for everything in tables that the store does not hold, and for bytes in logs.
func onlyLive(t *testing.T, db *DB, gone ...string) {
	t.Helper()
	live := make(map[string]uint64)
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			live[string(it.Item().Key())] = it.Item().Version()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	inFiles(t, db.dir, func(file string, key []byte, version uint64, value []byte) {
		if key[0] == prefixFiller || bytes.HasPrefix(key, []byte("!badger!")) {
			return
		}
		found++
		if live[string(key)] != version {
			t.Errorf("%s holds %q of version %d; the store has version %d", file, key, version, live[string(key)])
		}
	})
	if found == 0 {
		t.Error("the tables hold nothing at all")
	}
	logs, _ := filepath.Glob(filepath.Join(db.dir, badgerDir, "*.*"))
	for _, name := range logs {
		content, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		for _, text := range gone {
			if bytes.Contains(content, []byte(text)) {
				t.Errorf("%s holds %q", filepath.Base(name), text)
			}
		}
	}
}

// TestOldVersionsLeaveTheFiles closes, coarsens, deletes and removes, while somebody reads and counts.
func TestOldVersionsLeaveTheFiles(t *testing.T) {
	var mu sync.Mutex
	now := Day(20000).Date()
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	site, other := mustSite(t, db, "example.com"), mustSite(t, db, "example.org")
	for i := range 40 {
		day := Day(20000 + i%2)
		rows := append(pageView(site.ID, day, fmt.Sprintf("/path-%d", i), "DE"), pageView(other.ID, day, fmt.Sprintf("/elsewhere-%d", i), "DE")...)
		if err := db.Append(rows...); err != nil {
			t.Fatal(err)
		}
	}
	count := func(domain string, from, to Day) string {
		s, ok := db.Site(domain)
		if !ok {
			return ""
		}
		return table(mustQuery(t, db, Query{Site: s.ID, From: from, To: to, Metrics: []Metric{PageViews, Visitors}, Interval: ByDay}))
	}
	want := count("example.com", 20000, 20001)
	onDisk := func(text string) bool {
		names, _ := filepath.Glob(filepath.Join(db.dir, badgerDir, "*.*"))
		for _, name := range names {
			if content, err := os.ReadFile(name); err == nil && bytes.Contains(content, []byte(text)) {
				return true
			}
		}
		return false
	}
	settle := func() {
		t.Helper()
		if err := db.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !onDisk("/elsewhere-2") {
		t.Fatal("what is searched for cannot be found while it is there") // or the test proves nothing
	}
	mu.Lock()
	now = Day(20001).Date()
	mu.Unlock()
	settle() // day 20000 is closed
	onlyLive(t, db)
	mu.Lock()
	now = Day(20010).Date()
	mu.Unlock()
	settle() // both are coarse
	onlyLive(t, db)
	if got := count("example.com", 20000, 20001); got != want {
		t.Errorf("after closing:\n%swant:\n%s", got, want)
	}
	if err := db.DeleteRange("example.com", 20000, 20000); err != nil {
		t.Fatal(err)
	}
	if err := db.RemoveSite("example.org"); err != nil {
		t.Fatal(err)
	}
	settle()
	onlyLive(t, db, "/elsewhere-")
	if onDisk("elsewhere") {
		t.Error("a removed site is in the files")
	}
	if got := count("example.com", 20000, 20001); got == want || got == "" {
		t.Errorf("after deleting a day: %s", got)
	}
}

// TestReadersInTheWayOfPurge lets a reader hold on to what is deleted while Badger compacts. Such versions are not looked
// at again by Badger itself.
func TestReadersInTheWayOfPurge(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	for i := range 30 {
		if err := db.Append(pageView(site.ID, 20000, fmt.Sprintf("/path-%d", i), "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	mustSettle(t, db)
	reader := db.badger.NewTransaction(false)
	if refs, err := db.dropHeaders(site.ID, func() []span { return []span{{Hits, 20000, 20000, 0}} }); err != nil || len(refs) == 0 {
		t.Fatal(refs, err)
	}
	for range 2 { // with the reader in the way, by hand
		if err := errors.Join(db.flushMemtables(), db.flatten()); err != nil {
			t.Fatal(err)
		}
	}
	kept := 0
	inFiles(t, db.dir, func(_ string, key []byte, _ uint64, _ []byte) {
		if key[0] == prefixHeader {
			kept++
		}
	})
	if kept <= 3 { // runs and rollups that are left
		t.Error("the reader was not in the way")
	}
	reader.Discard()
	if err := db.purge(); err != nil { // nothing has been noted, so that the store itself does not purge meanwhile
		t.Fatal(err)
	}
	onlyLive(t, db)
}

// TestKilledAfterDroppingNothing copies a store at a moment when its logs are empty.
func TestKilledAfterDroppingNothing(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	for range 3 {
		if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	mustSettle(t, db)
	if err := db.flushMemtables(); err != nil {
		t.Fatal(err)
	}
	if !db.newTablesOnly() {
		t.Fatal("other path")
	}
	drop, err := db.prepareDrop()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.mark(), db.badger.DropPrefix(drop)); err != nil { // marked by syncLoop just before
		t.Fatal(err)
	}
	dir := copyStore(t, db.dir) // killed here, before setMark
	cp, err := Open(dir, Options{})
	if err != nil {
		t.Errorf("after a kill: %v", err)
		return
	}
	cp.Close()
}

func copyStore(t *testing.T, from string) string {
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "s"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "s")
}

// TestPurgeDeletesNoRecord has sites whose names are those of others with a letter more.
func TestPurgeDeletesNoRecord(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	// many sites in chains: shop, shop1, shop10, shop100 ...
	for from := 0; from < 40000; from += 1000 {
		err := db.update(func(txn *badger.Txn) error {
			for i := from; i < from+1000; i++ {
				d := fmt.Sprintf("shop%d", i)
				if err := setRecord(txn, recordSite, d, Site{ID: uint32(i + 1), Domain: d, TimeZone: "UTC"}, 0); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	count := func() (n int) {
		keys, err := db.keys(recordKey(recordSite, ""), 0)
		if err != nil {
			t.Fatal(err)
		}
		return len(keys)
	}
	before := count()
	for round := range 4 {
		// a reader in the way of the compaction, as in TestReadersInTheWayOfPurge
		reader := db.badger.NewTransaction(false)
		err := db.update(func(txn *badger.Txn) error { // sites are removed: none of them the stem of another
			for i := 20007 + round; i < 40000; i += 20 {
				before--
				if err := txn.Delete(recordKey(recordSite, fmt.Sprintf("shop%d", i))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := errors.Join(db.flushMemtables(), db.flatten()); err != nil {
				t.Fatal(err)
			}
		}
		reader.Discard()
		if err := db.purge(); err != nil {
			t.Errorf("purge: %v", err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d of %d site records are left", after, before)
	}
}

// TestPurgeOfATableThatBeginsWithAFiller has nothing before the filler.
func TestPurgeOfATableThatBeginsWithAFiller(t *testing.T) {
	var today atomic.Int64
	today.Store(20000)
	db := clockStore(t, t.TempDir(), &today)
	site := mustSite(t, db, "example.com")
	for i := range 30 {
		if err := db.Append(pageView(site.ID, 20000, fmt.Sprintf("/path-%d", i), "DE")...); err != nil {
			t.Fatal(err)
		}
	}
	mustSettle(t, db)
	reader := db.badger.NewTransaction(false)
	if refs, err := db.dropHeaders(site.ID, func() []span { return []span{{Hits, 20000, 20000, 0}} }); err != nil || len(refs) == 0 {
		t.Fatal(refs, err)
	}
	for range 2 {
		if err := errors.Join(db.flushMemtables(), db.flatten()); err != nil {
			t.Fatal(err)
		}
	}
	reader.Discard()
	for _, tab := range db.tables() {
		t.Logf("level %d stale %d left %q", tab.Level, tab.StaleDataSize, y.ParseKey(tab.Left))
	}
	if err := db.purge(); err != nil {
		t.Errorf("purge: %v", err)
	}
	onlyLive(t, db)
}

// TestCountingGoesOnWhileAPurgeWaits has a reader that takes its time.
func TestCountingGoesOnWhileAPurgeWaits(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	reading, stop := make(chan struct{}), make(chan struct{})
	go db.view(func(*badger.Txn) error { close(reading); <-stop; return nil }) // a query over years
	<-reading
	go db.readers.await()
	time.Sleep(100 * time.Millisecond)
	done := make(chan error, 1)
	go func() { done <- db.Append(pageView(site.ID, 20000, "/", "DE")...) }()
	select {
	case <-done:
	case <-time.After(2 * time.Second):
		t.Error("Append waits for a reader")
	}
	close(stop)
}

// TestPurgeOnAFullDisk waits for what cannot be.
func TestPurgeOnAFullDisk(t *testing.T) {
	db, left := openWithSpace(t)
	site := mustSite(t, db, "example.com")
	if err := db.Append(pageView(site.ID, 20000, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	mustSettle(t, db)
	left.Store(reserve - 1)
	if err := db.Purge(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Purge on a full disk = %v", err)
	}
	left.Store(1 << 40)
	if err := db.Purge(t.Context()); err != nil {
		t.Errorf("Purge after clearing the disk = %v", err)
	}
}
