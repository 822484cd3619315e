package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// damageFlips is how many bytes of a file are flipped, besides its first and last ones; in a long run nearly all.
	damageFlips     = 2
	damageFlipsSoak = 400
	damageSeed      = 1
	// damageToday is when the stores are used: the first of their days is coarse, others are closed, one goes on.
	damageToday Day = 20003
)

// damageStores are the states that a store is found in.
var damageStores = map[string]func(t *testing.T, dir string){
	"stopped": func(t *testing.T, dir string) {
		db := fillForDamage(t, dir)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	},
	"killed": func(t *testing.T, dir string) {
		live := memoryDir(t)
		db := fillForDamage(t, live)
		for i := range 30 { // in logs only
			if err := db.Append(pageView(1, 20000+Day(i%4), fmt.Sprintf("/late/%d", i), "AT")...); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, db)
		if err := db.mark(); err != nil {
			t.Fatal(err)
		}
		snapshotOf(t, live).write(t, dir)
	},
}

// fillForDamage makes a store of several tables with closed days, and one that goes on.
func fillForDamage(t *testing.T, dir string) *DB {
	t.Helper()
	now := damageToday.Date()
	open := func() *DB {
		db, err := Open(dir, Options{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	mustSite(t, db, "example.com")
	r := rand.New(rand.NewPCG(damageSeed, 0))
	for round := range 3 {
		for i := range 20 {
			var rows []Row
			for range 20 {
				path := fmt.Sprintf("/%d/%d", i, r.Uint64()) // does not compress
				rows = append(rows, pageView(1, Day(20000+round), path, []string{"DE", "FR", "IT"}[r.IntN(3)])...)
			}
			if err := db.Append(rows...); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, db)
		if err := db.Close(); err != nil { // writes a table
			t.Fatal(err)
		}
		db = open()
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return db
}

// damageAnswers is all that the store of fillForDamage says, as text.
func damageAnswers(dir string) (string, error) {
	now := damageToday.Date()
	db, err := Open(dir, Options{Now: func() time.Time { return now }})
	if err != nil {
		return "", fmt.Errorf("open: %w", err)
	}
	defer db.Close()
	var b strings.Builder
	for _, s := range db.Sites() {
		fmt.Fprintln(&b, s.ID, s.Domain, s.TimeZone)
	}
	for _, q := range []Query{
		{Metrics: testMetrics, Interval: ByDay},
		{Metrics: testMetrics, GroupBy: []Column{Path}, Limit: 10000},
		{Metrics: testMetrics, GroupBy: []Column{Country}, Filters: []Filter{{Column: Path, Op: Contains, Values: []string{"1"}}}},
		{Metrics: testMetrics, GroupBy: []Column{Exit}},
	} {
		q.Site, q.From, q.To = 1, 19990, 20010
		res, err := db.Query(context.Background(), q)
		if errors.Is(err, ErrNotKept) { // what a repair leaves of a day: the totals
			fmt.Fprintln(&b, "not kept")
			continue
		}
		if err != nil {
			return "", fmt.Errorf("query: %w", err)
		}
		b.WriteString(table(res))
	}
	return b.String(), nil
}

// damageCase changes one file.
type damageCase struct {
	name string
	do   func(path string) error
}

func flipAt(at int64) damageCase {
	return damageCase{fmt.Sprintf("flip %d", at), func(path string) error {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		b := make([]byte, 1)
		if _, err = f.ReadAt(b, at); err == nil {
			b[0] ^= 1 << (at % 8)
			_, err = f.WriteAt(b, at)
		}
		return errors.Join(err, f.Close())
	}}
}

func cutAt(at int64) damageCase {
	return damageCase{fmt.Sprintf("cut at %d", at), func(path string) error { return os.Truncate(path, at) }}
}

// cases chooses what is done to a file: flips and cuts where there is something, and a few behind.
func (f *fileSnapshot) cases() []damageCase {
	end, size := len(f.data), int(f.size)
	flips := damageFlips
	if os.Getenv("DACHS_SOAK") != "" {
		flips = damageFlipsSoak
	}
	r := rand.New(rand.NewPCG(damageSeed, uint64(end)))
	offsets := make(map[int]bool)
	for i := range min(end, flips) { // headers and footers, where lengths are, and anywhere
		offsets[i], offsets[end-1-i], offsets[r.IntN(end)] = true, true, true
	}
	if size > end {
		offsets[end], offsets[size-1] = true, true
	}
	var all []damageCase
	for _, at := range slices.Sorted(maps.Keys(offsets)) {
		all = append(all, flipAt(int64(at)))
	}
	cuts := []int{0, 20, end / 2, end - 1, end}
	if os.Getenv("DACHS_SOAK") != "" {
		cuts = append(cuts, 1, 7, 8, 19, 28, end-9, (end+size)/2)
	}
	for _, at := range cuts {
		if at >= 0 && at < size {
			all = append(all, cutAt(int64(at)))
		}
	}
	for range min(end, flips/4) {
		all = append(all, cutAt(int64(r.IntN(end))))
	}
	return all
}

// TestDamagedFiles flips and cuts bytes of every file of a store. What is answered afterwards is right, or an error that
// says what to do; a store that does not open is as it was; nothing panics or hangs.
func TestDamagedFiles(t *testing.T) {
	for name, fill := range damageStores {
		t.Run(name, func(t *testing.T) {
			whole := memoryDir(t)
			fill(t, whole)
			want, err := damageAnswers(copied(t, whole))
			if err != nil || !strings.Contains(want, "DE") {
				t.Fatalf("%v: %s", err, want)
			}
			files := snapshotOf(t, whole)
			for file, f := range files {
				t.Run(strings.ReplaceAll(file, "/", "-"), func(t *testing.T) {
					outcomes := make(map[string]int)
					for _, c := range f.cases() {
						tryDamage(t, files, file, c, want, outcomes)
					}
					t.Log(outcomes)
				})
			}
		})
	}
}

// TestDamagedLogWithoutMark flips a byte in a log of which nothing says how long it was. What follows is not dropped.
func TestDamagedLogWithoutMark(t *testing.T) {
	whole := memoryDir(t)
	damageStores["killed"](t, whole)
	files := snapshotOf(t, whole)
	delete(files, markFile)
	log := files["badger/00001.mem"]
	for _, at := range []int{logHeaderLen, logHeaderLen + 4, len(log.data) / 3, len(log.data) / 2} {
		dir := memoryDir(t)
		files.write(t, dir)
		if err := flipAt(int64(at)).do(filepath.Join(dir, "badger/00001.mem")); err != nil {
			t.Fatal(err)
		}
		if _, err := damageAnswers(dir); err == nil || !strings.Contains(err.Error(), "00001.mem") || !strings.Contains(err.Error(), "a sound one follows") {
			t.Errorf("flip %d: %v", at, err)
		}
	}
}

// TestTableDamagedWhileInUse flips a byte of a table of an open store. Once that is noticed, questions get an error.
func TestTableDamagedWhileInUse(t *testing.T) {
	db := fillForDamage(t, memoryDir(t))
	q := Query{Site: 1, From: 20000, To: 20003, Metrics: []Metric{PageViews}}
	db.verify()
	mustQuery(t, db, q)
	tables, err := filepath.Glob(filepath.Join(db.dir, badgerDir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("%v, %v", tables, err)
	}
	if err := flipAt(100).do(tables[0]); err != nil {
		t.Fatal(err)
	}
	db.verify()
	if _, err := db.Query(context.Background(), q); !errors.Is(err, ErrDamaged) || !remedied(err) || !strings.Contains(err.Error(), tables[0]) {
		t.Errorf("Query = %v", err)
	}
	if err := db.Append(pageView(1, 20003, "/still", "DE")...); err != nil {
		t.Errorf("Append = %v", err)
	}
}

// tryDamage runs one case in a copy of the store.
func tryDamage(t *testing.T, files snapshot, file string, c damageCase, want string, outcomes map[string]int) {
	t.Helper()
	dir := memoryDir(t)
	defer os.RemoveAll(dir)
	files.write(t, dir)
	if err := c.do(filepath.Join(dir, file)); err != nil {
		t.Fatal(err)
	}
	before := files.digest(t, dir)
	got, err := damageAnswers(dir)
	switch {
	case err == nil && got == want:
		outcomes["right"]++
	case err == nil:
		t.Errorf("%s: a wrong number, without an error:\n%s", c.name, firstDifference(got, want))
	case !remedied(err):
		t.Errorf("%s: no remedy in: %v", c.name, err)
	case strings.HasPrefix(err.Error(), "open: ") && !maps.Equal(before, files.digest(t, dir)):
		t.Errorf("%s: the store does not open, and is not as it was: %v", c.name, err)
	default:
		outcomes["refused"]++
	}
}

// remedied reports whether an error about a damaged store says what to do.
func remedied(err error) bool {
	for _, remedy := range []string{"dachs check", "choose another directory", "restore it", "install the version"} {
		if strings.Contains(err.Error(), remedy) {
			return !strings.Contains(err.Error(), "\n")
		}
	}
	return false
}

// copied copies a store to a directory of its own.
func copied(t *testing.T, from string) string {
	t.Helper()
	to := memoryDir(t)
	snapshotOf(t, from).write(t, to)
	return to
}

// snapshot is the files of a store, by path below its directory, without the zeros at their ends, of which logs are full.
type snapshot map[string]fileSnapshot

type fileSnapshot struct {
	data []byte
	size int64
}

func snapshotOf(t *testing.T, dir string) snapshot {
	t.Helper()
	s := make(snapshot)
	files := filesBelow(t, dir)
	slices.Reverse(files) // the mark before the logs: a store that is in use goes on meanwhile
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		s[file] = fileSnapshot{bytes.Clone(bytes.TrimRight(data, "\x00")), int64(len(data))}
	}
	return s
}

// write makes a store of the files.
func (s snapshot) write(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, badgerDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for file, f := range s {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, f.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, f.size); err != nil {
			t.Fatal(err)
		}
	}
}

// digest is what is in the files of a directory that were written from the snapshot and then damaged, or used.
func (s snapshot) digest(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, file := range filesBelow(t, dir) {
		f, err := os.Open(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		sum := crc32.NewIEEE()
		// Behind what was there, whoever writes begins at once: the zeros up to the end need not be read.
		if _, err := io.CopyN(sum, f, int64(len(s[file].data))+4096); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		all[file] = fmt.Sprint(info.Size(), sum.Sum32())
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// filesBelow lists files, relative to a directory.
func filesBelow(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// firstDifference shows where two texts part.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: %s\nwant: %s", i, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// memoryDir is a directory in memory where the system has one: these tests open hundreds of stores, which sync.
func memoryDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "dachs-test-*")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
