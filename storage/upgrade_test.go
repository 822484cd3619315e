package storage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	gocmp "github.com/google/go-cmp/cmp"
)

// TestUpgradeKeepsTheOldStore looks at what an upgrade leaves: the old store, byte for byte, and nothing else.
func TestUpgradeKeepsTheOldStore(t *testing.T) {
	t.Parallel()
	dir, f := unpackFixture(t, 1)
	login := badger.NewEntry(recordKey(recordLogin, "0"), []byte(`"2040-01-01T00:00:00Z"`)).WithTTL(time.Hour)
	mustWriteBadger(t, filepath.Join(dir, badgerDir), login)
	mustMark(t, dir)
	before := fingerprints(t, dir)
	var log bytes.Buffer
	db, err := Open(dir, Options{Now: f.clock(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	snapshot := filepath.Join(dir, "before-format-2")
	if diff := gocmp.Diff(before, fingerprints(t, snapshot)); diff != "" {
		t.Errorf("the snapshot is not the old store (-want +got):\n%s", diff)
	}
	for _, want := range []string{"from=1 to=2", "nothing is counted meanwhile", "snapshot=" + snapshot, "may be deleted"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, &log)
		}
	}
	if got := names(t, dir); gocmp.Diff([]string{"badger", "before-format-2", "format", "mark"}, got) != "" {
		t.Errorf("the directory has %v", got)
	}
	db = openAt(t, dir, f.Made)
	checkSites(t, db)
	err = db.view(func(txn *badger.Txn) error {
		item, err := txn.Get(recordKey(recordLogin, "0"))
		if err == nil && item.ExpiresAt() != login.ExpiresAt {
			t.Errorf("a login ends at %d, want %d", item.ExpiresAt(), login.ExpiresAt)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// checkSites checks that sites, and the numbers that were ever used, are those of before.
func checkSites(t *testing.T, db *DB) {
	t.Helper()
	var got []string
	for _, s := range db.Sites() {
		got = append(got, fmt.Sprintf("%s %s %v", s.Domain, s.TimeZone, s.Keep == Retention{}))
	}
	want := []string{"blog.example America/New_York true", "docs.example Pacific/Auckland true", "shop.example Europe/Berlin true"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("sites (-want +got):\n%s", diff)
	}
	if s, err := db.AddSite("new.example", ""); err != nil || s.ID != 4 {
		t.Errorf("AddSite = %+v, %v: want a number that was never used", s, err)
	}
}

// fingerprints returns a checksum of every file.
func fingerprints(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		below, err := filepath.Rel(dir, name)
		if err == nil {
			all[below] = fmt.Sprintf("%x", sha256.Sum256(text))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// clock is the clock when the fixture was made.
func (f *fixture) clock() func() time.Time { return func() time.Time { return f.Made } }

// upgradeSteps are the moments at which an upgrade may be ended, in their order.
var upgradeSteps = []string{
	"prepared", "opened", "moving", "written", "moved", "synced", // the next start begins anew
	"decided", "put aside", "swapped", "kept", // it goes on
}

// TestUpgradeKilled kills one process after the other, each at the next step of an upgrade of the same store, and opens
// the store then. With DACHS_SOAK each step has a store of its own, too.
func TestUpgradeKilled(t *testing.T) {
	t.Parallel()
	dir, f := unpackFixture(t, 1)
	mustMark(t, dir)
	before := fingerprints(t, dir)
	for _, step := range upgradeSteps {
		killUpgrade(t, dir, step)
	}
	checkUpgraded(t, dir, f, before)
	if os.Getenv("DACHS_SOAK") == "" {
		return
	}
	for _, step := range upgradeSteps {
		t.Run(step, func(t *testing.T) {
			dir, f := unpackFixture(t, 1)
			mustMark(t, dir)
			killUpgrade(t, dir, step)
			checkUpgraded(t, dir, f, before)
		})
	}
}

// killUpgrade upgrades a store, or goes on with that, in a process that is killed at a step.
func killUpgrade(t *testing.T, dir, step string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestUpgradeVictim$")
	cmd.Env = append(os.Environ(), "DACHS_TEST_UPGRADE="+dir, "DACHS_TEST_STEP="+step)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("%s: the process was not killed: %v\n%s", step, err, out)
	}
	if !exists(filepath.Join(dir, upgradeDir)) {
		t.Errorf("%s: nothing is left of the upgrade: the test shows nothing", step)
	}
}

// checkUpgraded opens a store after a crash.
func checkUpgraded(t *testing.T, dir string, f *fixture, before map[string]string) {
	t.Helper()
	db := openAt(t, dir, f.Made)
	f.totals().compare(t, db, "after the kill")
	if diff := gocmp.Diff(before, fingerprints(t, filepath.Join(dir, "before-format-2"))); diff != "" {
		t.Errorf("the snapshot is not the old store (-want +got):\n%s", diff)
	}
	if exists(filepath.Join(dir, upgradeDir)) {
		t.Error("something of the upgrade is left")
	}
}

// TestUpgradeVictim is the process that TestUpgradeKilled kills.
func TestUpgradeVictim(t *testing.T) {
	dir, step := os.Getenv("DACHS_TEST_UPGRADE"), os.Getenv("DACHS_TEST_STEP")
	if dir == "" {
		t.Skip("is started by TestUpgradeKilled")
	}
	runs := 0
	_, err := Open(dir, Options{fault: func(at string) {
		if at == "moving" {
			runs++ // in the middle
		}
		if at != step || at == "moving" && runs < 5 {
			return
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		if err != nil {
			panic(err)
		}
		select {}
	}})
	t.Fatalf("was not killed: %v", err)
}

// TestUpgradeRefused has a line for each reason for which an upgrade is not made. None changes a byte.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	dir, fix := unpackFixture(t, 1)
	plenty := func(string) (uint64, error) { return 1 << 40, nil }
	f := func(lock string, free func(string) (uint64, error), want error, text string) {
		t.Helper()
		if lock != "" {
			release, err := lockDir(lock)
			if err != nil {
				t.Fatal(err)
			}
			defer release()
		}
		db, err := Open(dir, Options{Now: fix.clock(), free: free})
		if err == nil {
			db.Close()
		}
		if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
			t.Errorf("Open = %v, want %v with %q", err, want, text)
		}
	}
	before := fingerprints(t, dir)
	f("", func(string) (uint64, error) { return 2 * reserve, nil }, ErrUnavailable, "free some space")
	f(filepath.Join(dir, badgerDir), plenty, ErrLocked, "stop it first") // the old version runs
	f(dir, plenty, ErrLocked, "wait until that is done")                 // another upgrade runs
	if diff := gocmp.Diff(before, fingerprints(t, dir)); diff != "" {
		t.Errorf("something was changed:\n%s", diff)
	}
	mustWriteBadger(t, filepath.Join(dir, badgerDir), badger.NewEntry(runRef{site: 1, table: Hits, day: 20000, id: 1}.headerKey(), []byte{1, 0}))
	before = fingerprints(t, dir)
	f("", plenty, ErrDamaged, "run 0000000000000001: data is damaged: block of 0 rows; the store is as it was")
	if diff := gocmp.Diff(before, fingerprints(t, dir)); diff != "" {
		t.Errorf("something was changed:\n%s", diff)
	}
}

// mustMark notes a commit of the old store, which format 1 did not do: the mark belongs to the snapshot then.
func mustMark(t *testing.T, dir string) {
	t.Helper()
	if err := writeMark(dir, 1); err != nil {
		t.Fatal(err)
	}
}

// TestUpgradeByCheck checks an old store, and one whose files are damaged.
func TestUpgradeByCheck(t *testing.T) {
	t.Parallel()
	dir, f := unpackFixture(t, 1)
	name := filepath.Join(dir, badgerDir, "MANIFEST")
	manifest, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	manifest[len(manifest)/2] ^= 1
	write(t, name, string(manifest))
	before := fingerprints(t, dir)
	if db, err := Open(dir, Options{Now: f.clock()}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "dachs check") {
		t.Errorf("Open of a damaged old store = %v", err)
		if err == nil {
			db.Close()
		}
	}
	if report, err := Check(t.Context(), dir, CheckOptions{Options: Options{Now: f.clock()}}); err != nil || len(report.Findings) == 0 {
		t.Errorf("Check of a damaged old store = %+v, %v", report, err)
	}
	if diff := gocmp.Diff(before, fingerprints(t, dir)); diff != "" {
		t.Errorf("something was changed:\n%s", diff)
	}
	manifest[len(manifest)/2] ^= 1
	write(t, name, string(manifest))
	if report, err := Check(t.Context(), dir, CheckOptions{Options: Options{Now: f.clock()}}); err != nil || len(report.Findings) != 0 {
		t.Errorf("Check of an old store = %+v, %v", report, err)
	}
	f.totals().compare(t, openAt(t, dir, f.Made), "after the check")
}

// mustWriteBadger sets a key of a closed store.
func mustWriteBadger(t *testing.T, dir string, e *badger.Entry) {
	t.Helper()
	b, err := badger.Open(badgerOptions(dir, Options{Logger: slog.New(slog.DiscardHandler)}))
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update(func(txn *badger.Txn) error { return txn.SetEntry(e) })
	if err = errors.Join(err, b.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestUpgradeWhileUpgrading opens a store that is being upgraded, which is refused until the upgrade is done.
func TestUpgradeWhileUpgrading(t *testing.T) {
	t.Parallel()
	dir, f := unpackFixture(t, 1)
	tried := make(map[string]error)
	db, err := Open(dir, Options{Now: f.clock(), batch: 1, fault: func(step string) {
		if _, ok := tried[step]; !ok {
			second, err := Open(dir, Options{Now: f.clock()})
			if tried[step] = err; err == nil {
				second.Close()
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, step := range upgradeSteps {
		if err := tried[step]; !errors.Is(err, ErrLocked) {
			t.Errorf("%s: a second Open = %v, want %v", step, err, ErrLocked)
		}
	}
	f.totals().compare(t, db, "after the upgrade")
	// Who read the old format, and then had to wait for the lock, finds that another was faster.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o := Options{Now: f.clock(), Logger: slog.New(slog.DiscardHandler), free: freeSpace}
	if err := upgradeStore(dir, 1, o); err != nil {
		t.Errorf("upgrade of a store that has just been upgraded: %v", err)
	}
	f.totals().compare(t, openAt(t, dir, f.Made), "after a second upgrade")
}

// TestUpgradeCutsNoTable gives Badger time to compact the old store, which would cut the tables of the snapshot.
func TestUpgradeCutsNoTable(t *testing.T) {
	if os.Getenv("DACHS_SOAK") == "" {
		t.Skip("takes some seconds; set DACHS_SOAK")
	}
	dir, f := unpackFixture(t, 1)
	for range 12 { // each makes a table on the level of fresh ones
		mustWriteBadger(t, filepath.Join(dir, badgerDir), badger.NewEntry(recordKey(recordHealth, ""), []byte("0")))
	}
	before := fingerprints(t, dir)
	db, err := Open(dir, Options{Now: f.clock(), fault: func(step string) {
		if step == "opened" {
			time.Sleep(5 * time.Second)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if diff := gocmp.Diff(before, fingerprints(t, filepath.Join(dir, "before-format-2"))); diff != "" {
		t.Errorf("the snapshot is not the old store (-want +got):\n%s", diff)
	}
}

// TestUpgradeDecodes has codes and sums of widths that the fixture lacks.
func TestUpgradeDecodes(t *testing.T) {
	sums := func(want []int64, src ...byte) {
		t.Helper()
		if got, err := decodeSums1(src, len(want), nil); err != nil || !slices.Equal(got, want) {
			t.Errorf("decodeSums1(%v) = %v, %v, want %v", src, got, err, want)
		}
	}
	sums([]int64{-2, -2}, 0, 3)
	sums([]int64{1, -1}, 1, 1, 255)
	sums([]int64{258, -2}, 2, 2, 1, 254, 255)
	sums([]int64{1 << 16, -2}, 4, 0, 0, 1, 0, 254, 255, 255, 255)
	sums([]int64{1 << 40, -1}, 8, 0, 0, 0, 0, 0, 1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255)
	for _, src := range [][]byte{{}, {0}, {0, 1, 1}, {1, 1}, {3, 1, 1, 1, 1, 1, 1}, {2, 1, 1}} {
		if got, err := decodeSums1(src, 2, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("decodeSums1(%v) = %v, %v", src, got, err)
		}
	}
	for _, c := range []struct{ count, visits, propVisitors, want int64 }{{1, 1, 1, 1}, {1, 0, 1, 1}, {3, 2, 0, 2}, {0, 0, 1, 0}} {
		r := Row{}
		r.Sums[Count], r.Sums[HitVisits], r.Sums[PropVisitors] = c.count, c.visits, c.propVisitors
		if got := propVisits1(&r); got != c.want {
			t.Errorf("propVisits1(%+v) = %d", c, got)
		}
	}
	dict, src := make([]string, 300), binary.AppendUvarint(nil, 300)
	for i := range dict {
		dict[i] = fmt.Sprintf("%03d", i)
		src = append(append(src, 0, 3), dict[i]...)
	}
	got, codes, err := decodeColumn1(append(src, 1, 0, 43, 1), 2, nil)
	if err != nil || !slices.Equal(got, dict) || !slices.Equal(codes, []uint16{1, 299}) {
		t.Errorf("decodeColumn1 = %v, %v, %v", got, codes, err)
	}
	for _, end := range [][]byte{{}, {1, 0, 43}, {1, 0, 44, 1}} {
		if _, codes, err := decodeColumn1(append(slices.Clone(src), end...), 2, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("decodeColumn1 with codes %v = %v, %v", end, codes, err)
		}
	}
}

// TestUpgradeKeepsOldDays upgrades a store whose days are older than new ones are kept: format 1 kept them for ever.
func TestUpgradeKeepsOldDays(t *testing.T) {
	t.Parallel()
	dir, f := unpackFixture(t, 1)
	if err := os.Mkdir(filepath.Join(dir, "before-format-2"), 0o700); err != nil { // of somebody who has gone back
		t.Fatal(err)
	}
	db := openAt(t, dir, f.Made.AddDate(3, 0, 0))
	if want := filepath.Join(dir, "before-format-2-2", badgerDir); !exists(want) {
		t.Errorf("there is no %s", want)
	}
	f.totals().compare(t, db, "three years later")
	for _, s := range db.Sites() {
		if s.Keep.Detail < 3*365+defaultDays || s.Keep.Totals < s.Keep.Detail {
			t.Errorf("%s keeps %+v", s.Domain, s.Keep)
		}
	}
	for site := range everySite(db) {
		db.merges.letGo(site)
	}
	mergeAll(t, db)
	f.totals().compare(t, db, "after old days were let go")
}
