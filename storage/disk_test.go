package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// smallDisk mounts a file system in memory, or skips where that is not permitted. set gives it another size, or other
// options.
func smallDisk(t *testing.T, size uint64) (dir string, set func(options string) error) {
	t.Helper()
	dir = t.TempDir()
	mount := func(args ...string) error {
		out, err := exec.Command("mount", append(args, "tmpfs", dir)...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := mount("-t", "tmpfs", "-o", fmt.Sprintf("size=%d", size)); err != nil {
		t.Skip("this user cannot mount a file system: ", err)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v %s", err, out)
		}
	})
	return dir, func(options string) error { return mount("-o", "remount,"+options) }
}

// TestFullDiskUnderMerges fills a real file system while runs are merged, tables compacted and rows imported. Nothing is
// written once too little is left; what had begun by itself still has room: Badger writes through memory maps, so that
// running out would end the process. Reads go on, and so does counting when there is room again.
func TestFullDiskUnderMerges(t *testing.T) {
	const room = 40 << 20
	dir, set := smallDisk(t, reserve+room)
	db := mustOpen(t, dir)
	mustSite(t, db, "example.com")

	var least atomic.Uint64 // free
	least.Store(1 << 40)
	watching, stop := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		for watching.Err() == nil {
			if free, err := freeSpace(dir); err == nil {
				least.Store(min(least.Load(), free))
			}
			time.Sleep(time.Millisecond)
		}
	})
	stored := fillDisk(t, db)
	if err := db.Health(); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Health on a full disk = %v", err)
	}
	im, err := db.BeginImport(1)
	if err == nil {
		if err = im.Append(bulkyRows(rand.New(rand.NewPCG(1, 1)), 20000, 100)...); err == nil {
			err = im.Commit(Fingerprint{Bytes: 1}, false)
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("import on a full disk = %v", err)
	}
	if err := im.Rollback(); err != nil {
		t.Errorf("Rollback on a full disk = %v", err)
	}
	counted := func() float64 {
		res := mustQuery(t, db, Query{Site: 1, From: 20000, To: 20010, Metrics: []Metric{PageViews}})
		return res.Rows[0].Values[0].Number
	}
	if n := counted(); n != stored {
		t.Errorf("on a full disk %v page views are counted, %v were stored", n, stored)
	}
	time.Sleep(2 * spaceEvery) // for what Badger may still have to do; nothing is proved by it
	stop()
	watch.Wait()
	t.Logf("%.0f page views; at least %d MiB were free, of %d in reserve", stored, least.Load()>>20, uint64(reserve)>>20)
	if least.Load() < reserve/4 {
		t.Errorf("only %d MiB were left: the reserve is too small", least.Load()>>20)
	}
	if err := set(fmt.Sprintf("size=%d", reserve+4*room)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * spaceEvery); ; {
		err := db.Append(pageView(1, 20000, "/again", "DE")...)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("Append with room again = %v", err)
		}
		time.Sleep(spaceEvery / 10)
	}
	if n := counted(); n != stored+1 {
		t.Errorf("with room again %v page views are counted, want %v", n, stored+1)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(context.Background(), dir, CheckOptions{}); err != nil || len(r.Findings) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// fillDisk counts from several goroutines until there is no room, and returns the page views that were stored.
func fillDisk(t *testing.T, db *DB) float64 {
	t.Helper()
	var stored atomic.Int64
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			for n := range 100_000 {
				rows := bulkyRows(r, 20000+Day(n%3), 300)
				if err := db.Append(rows...); err != nil {
					if !errors.Is(err, ErrUnavailable) {
						t.Error(err)
					}
					return
				}
				stored.Add(int64(len(rows)) / 2)
			}
			t.Error("the disk was never full")
		})
	}
	all.Wait()
	return float64(stored.Load())
}

// bulkyRows are page views that take much room.
func bulkyRows(r *rand.Rand, day Day, n int) []Row {
	var rows []Row
	for range n {
		path := fmt.Sprintf("/%x%x%x%x%x%x", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
		rows = append(rows, pageView(1, day, path, "DE")...)
	}
	return rows
}

// TestReadOnlyDisk opens a store where nothing can be written. It says so in a line, and opens again afterwards.
func TestReadOnlyDisk(t *testing.T) {
	dir, set := smallDisk(t, 1<<30)
	data := filepath.Join(dir, "data")
	db := mustOpen(t, data)
	mustSite(t, db, "example.com")
	if err := db.Append(pageView(1, 20000, "/", "DE")...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := set("ro"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{data, filepath.Join(dir, "new")} {
		db, err := Open(dir, Options{})
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "give this user write access") || strings.Contains(err.Error(), "damaged") {
			t.Errorf("Open on a read-only disk = %v", err)
		}
	}
	if err := set("rw"); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, data)
	res := mustQuery(t, db, Query{Site: 1, From: 20000, To: 20000, Metrics: []Metric{PageViews}})
	if got := table(res); got != "2024-10-04/00 [] 1\n" {
		t.Errorf("counted %s", got)
	}
}

// TestDirectoryThatCannotBeWritten is the same where no file system can be mounted; root may write everywhere.
func TestDirectoryThatCannotBeWritten(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write to every directory")
	}
	dir := t.TempDir()
	if err := mustOpen(t, dir).Close(); err != nil {
		t.Fatal(err)
	}
	inner := filepath.Join(dir, badgerDir)
	if err := os.Chmod(inner, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(inner, 0o700)
	if db, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "give this user write access") {
		t.Errorf("Open of a directory that cannot be written = %v", err)
		if err == nil {
			db.Close()
		}
	}
}

// TestSecondProcessByAnotherPath opens a store twice, once by a symbolic link.
func TestSecondProcessByAnotherPath(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, filepath.Join(dir, "data"))
	link := filepath.Join(dir, "link")
	if err := os.Symlink("data", link); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	if db, err := Open(link, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("Open = %v", err)
		if err == nil {
			db.Close()
		}
	}
	if _, err := Check(context.Background(), link, CheckOptions{Repair: true}); !errors.Is(err, ErrLocked) {
		t.Errorf("Check = %v", err)
	}
}

// TestClockGoesBackwards lets days close, then sets the clock back over midnight and by a year, counts there, and lets it
// go on. Days that were closed, and are closed again, hold the sum.
func TestClockGoesBackwards(t *testing.T) {
	var today atomic.Int64
	dir := t.TempDir()
	db, err := Open(dir, Options{Now: func() time.Time { return Day(today.Load()).Date().Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	mustSite(t, db, "example.com")
	want := make(map[Day]float64)
	r := rand.New(rand.NewPCG(1, 1))
	for round, at := range []Day{20000, 20001, 20005, 20004, 20003, 20005, 20000, 20005 - 365, 20005 - 364, 20006, 20001, 20010} {
		today.Store(int64(at))
		db.merges.ripen(db.ripe)
		for range 30 {
			if err := db.Append(pageView(1, at, fmt.Sprintf("/%d", r.IntN(40)), "DE")...); err != nil {
				t.Fatal(err)
			}
			want[at]++
		}
		settle(t, db)
		for _, q := range []Query{{}, {GroupBy: []Column{Path}}, {Filters: []Filter{{Column: Country, Op: Is, Values: []string{"DE"}}}}} {
			q.Site, q.From, q.To, q.Interval, q.Limit = 1, 19000, 20010, ByDay, 10_000
			q.Metrics = []Metric{PageViews, VisitsTotal, Visitors}
			got := make(map[Day]float64)
			for _, row := range mustQuery(t, db, q).Rows {
				got[row.Day] += row.Values[0].Number
				if row.Values[1].Number != row.Values[0].Number || row.Values[2].Number != row.Values[0].Number {
					t.Errorf("round %d: %s has %v", round, row.Day, row.Values)
				}
			}
			for day, n := range want {
				if got[day] != n {
					t.Errorf("round %d, clock at %s: %s has %v page views, want %v", round, at, day, got[day], n)
				}
			}
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if report := mustCheck(t, dir, false); len(report.Findings) > 0 {
		t.Errorf("%+v", report)
	}
}
