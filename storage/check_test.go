package storage

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// repairCasesSoak is how many cases of damage are repaired for each file in a long run.
const repairCasesSoak = 60

func mustCheck(t *testing.T, dir string, repair bool) CheckReport {
	t.Helper()
	now := damageToday.Date()
	report, err := Check(context.Background(), dir, CheckOptions{Repair: repair, Options: Options{Now: func() time.Time { return now }}})
	if err != nil {
		t.Fatalf("%v after %+v", err, report.Findings)
	}
	return report
}

func TestCheckOfSoundStore(t *testing.T) {
	for name, fill := range damageStores {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			fill(t, dir)
			r := mustCheck(t, dir, false)
			if len(r.Findings) > 0 || r.Sites != 1 || r.Days < 3 || r.Rows < 1200 || r.Runs < 6 || r.Bytes == 0 {
				t.Errorf("%+v", r)
			}
		})
	}
	t.Run("in use", func(t *testing.T) {
		db := fillForDamage(t, memoryDir(t))
		r, err := db.Check(context.Background(), nil)
		if err != nil || len(r.Findings) > 0 || r.Rows < 1200 || r.Files == 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestRepairOfDamagedFiles repairs stores that do not open. What is left is part of what was there: nothing is counted
// twice or made up.
func TestRepairOfDamagedFiles(t *testing.T) {
	for name, fill := range damageStores {
		t.Run(name, func(t *testing.T) {
			whole := memoryDir(t)
			fill(t, whole)
			want, err := damageAnswers(copied(t, whole))
			if err != nil {
				t.Fatal(err)
			}
			files := snapshotOf(t, whole)
			for _, file := range slices.Sorted(maps.Keys(files)) {
				f := files[file]
				if file == formatFile { // says nothing of counts; the store is not opened without it
					continue
				}
				end := len(f.data)
				r := rand.New(rand.NewPCG(damageSeed, uint64(end)))
				cases := []damageCase{flipAt(int64(r.IntN(end + 1))), cutAt(int64(end / 2))}
				if os.Getenv("DACHS_SOAK") != "" {
					all := f.cases()
					for i := range min(len(all), repairCasesSoak) {
						cases = append(cases, all[i*len(all)/min(len(all), repairCasesSoak)])
					}
				}
				for _, c := range cases {
					tryRepair(t, files, file, c, want)
				}
			}
		})
	}
}

func tryRepair(t *testing.T, files snapshot, file string, c damageCase, want string) {
	t.Helper()
	dir := memoryDir(t)
	files.write(t, dir)
	if c.do(filepath.Join(dir, file)) != nil {
		return // there is no such byte
	}
	before := files.digest(t, dir)
	found := mustCheck(t, dir, false)
	if found.FilesOnly && !maps.Equal(before, files.digest(t, dir)) {
		t.Errorf("%s, %s: a check without repair has changed files", file, c.name)
	}
	repaired := mustCheck(t, dir, true)
	if len(repaired.Findings) < len(found.Findings) || slices.ContainsFunc(repaired.Findings, func(f Finding) bool { return !f.Repaired }) {
		t.Fatalf("%s, %s: found %+v, repaired %+v", file, c.name, found.Findings, repaired.Findings)
	}
	if len(repaired.Findings) > 0 && repaired.Kept == "" {
		t.Errorf("%s, %s: nothing was kept: %+v", file, c.name, repaired.Findings)
	}
	if again := mustCheck(t, dir, false); len(again.Findings) > 0 {
		t.Errorf("%s, %s: after a repair: %+v", file, c.name, again.Findings)
	}
	got, err := damageAnswers(dir)
	if err != nil {
		t.Errorf("%s, %s: after a repair: %v", file, c.name, err)
	}
	if len(found.Findings) == 0 && got != want {
		t.Errorf("%s, %s: nothing found, but %s", file, c.name, firstDifference(got, want))
	}
	notMore(t, file+", "+c.name, got, want)
}

// notMore checks that no count of an answer is greater than it was.
func notMore(t *testing.T, name, got, want string) {
	t.Helper()
	were := make(map[string][]string) // numbers by day and keys; the answers of a question follow each other
	for line := range strings.Lines(want) {
		key, numbers, _ := strings.Cut(line, "] ")
		were[key] = append(were[key], numbers)
	}
	for line := range strings.Lines(got) {
		key, numbers, _ := strings.Cut(line, "] ")
		if !strings.Contains(key, " [") {
			continue // a site
		}
		if len(were[key]) == 0 {
			t.Errorf("%s: after a repair there is %s", name, line)
			continue
		}
		is, was := strings.Fields(numbers), strings.Fields(were[key][0])
		for _, i := range []int{0, 1, 2, 6} { // visitors, visits, page views, events
			a, errA := strconv.ParseFloat(is[i], 64)
			b, errB := strconv.ParseFloat(was[i], 64)
			if errA == nil && errB == nil && a > b {
				t.Errorf("%s: after a repair: %swas %s", name, line, were[key][0])
			}
		}
	}
}

// TestCheckFindsWrongContents puts things into a store that should not be there, or takes some away.
func TestCheckFindsWrongContents(t *testing.T) {
	header := func(table Table, level uint8) func(key []byte) bool {
		return func(key []byte) bool {
			ref, err := parseHeaderKey(key)
			return err == nil && ref.table == table && ref.level == level
		}
	}
	chunk := func(key []byte) bool { return key[0] == prefixChunk && Table(key[5]) == Hits }
	set := func(value string, of func([]byte) bool) func(t *testing.T, db *DB) {
		return func(t *testing.T, db *DB) {
			key := firstKey(t, db, of)
			tamper(t, db, func(txn *badger.Txn) error { return txn.Set(key, []byte(value)) })
		}
	}
	remove := func(of func([]byte) bool) func(t *testing.T, db *DB) {
		return func(t *testing.T, db *DB) {
			key := firstKey(t, db, of)
			tamper(t, db, func(txn *badger.Txn) error { return txn.Delete(key) })
		}
	}
	add := func(key, value string) func(t *testing.T, db *DB) {
		return func(t *testing.T, db *DB) {
			tamper(t, db, func(txn *badger.Txn) error { return txn.Set([]byte(key), []byte(value)) })
		}
	}
	is := func(name string) func(key []byte) bool { return func(key []byte) bool { return string(key) == name } }
	tests := map[string]struct {
		do   func(t *testing.T, db *DB)
		text string
		same bool // a repair brings back all answers
	}{
		"unknown key":          {add("zebra", ""), "no known form", true},
		"short header key":     {add("hx", ""), "no known form", true},
		"unknown record":       {add("rvisitor/1", "{}"), "no known form", true},
		"unknown table":        {add("h\x00\x00\x00\x01\x77\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "x"), "no known form", true},
		"chunk without run":    {add(string(runRef{1, Hits, 20000, 0, 7}.chunkKey(0, 1)), "x"), "does not count", true},
		"chunk of no column":   {set("x", chunk), "example.com, 2024-10-04, hits", false},
		"chunk missing":        {remove(chunk), "is missing", false},
		"header damaged":       {set("\x01\xff\xff\xff\x7f", header(Hits, coarseLevel)), "block of", false},
		"rollup missing part":  {set("\x01\x01\x00", header(hitRollups, coarseLevel)), "hit rollups", true},
		"rollup missing":       {remove(header(hitRollups, coarseLevel)), "it is missing", true},
		"rollup of other sums": {rewriteBlock(visitRollups, oneMore), "not those of its run", true},
		"tuples out of order":  {rewriteBlock(Visits, swapped), "not greater than the one before", false},
		"site record missing":  {remove(is("rsite/example.com")), "no record of its name", false},
		"site record damaged":  {set("{", is("rsite/example.com")), "cannot be read", false},
		"next site too low":    {set("1", is("rnext-site/")), "number of the next site", true},
		"import of no site":    {add(string(importKey(77, Fingerprint{})), ""), "no known form", true},
		"counts and garbage": {func(t *testing.T, db *DB) {
			ref, err := parseHeaderKey(firstKey(t, db, header(Hits, coarseLevel)))
			if err != nil {
				t.Fatal(err)
			}
			tamper(t, db, func(txn *badger.Txn) error { return txn.Set(ref.runKey(prefixGarbage), nil) })
		}, "marked as garbage", true},
	}
	whole := memoryDir(t)
	damageStores["stopped"](t, whole)
	want, err := damageAnswers(copied(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	files := snapshotOf(t, whole)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := memoryDir(t)
			files.write(t, dir)
			withBadger(t, dir, func(db *DB) { tt.do(t, db) })
			named := func(f Finding) bool { return strings.Contains(f.Text, tt.text) }
			if r := mustCheck(t, dir, false); !slices.ContainsFunc(r.Findings, named) {
				t.Fatalf("%+v", r)
			}
			r := mustCheck(t, dir, true)
			if slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.Repaired }) || r.Kept == "" && !strings.Contains(tt.text, "site") && tt.text != "no record of its name" {
				t.Errorf("%+v", r)
			}
			if r = mustCheck(t, dir, false); len(r.Findings) > 0 {
				t.Errorf("after a repair: %+v", r)
			}
			got, err := damageAnswers(dir)
			if err != nil || tt.same && got != want {
				t.Errorf("after a repair: %v %s", err, firstDifference(got, want))
			}
		})
	}
}

// TestCheckOfSumsBelowZero finds what no repair can mend.
func TestCheckOfSumsBelowZero(t *testing.T) {
	dir := memoryDir(t)
	damageStores["stopped"](t, dir)
	withBadger(t, dir, func(db *DB) { rewriteBlock(Visits, belowZero)(t, db) })
	for _, repair := range []bool{true, false} {
		r := mustCheck(t, dir, repair)
		if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return strings.Contains(f.Text, "1 tuples have sums below zero") && !f.Repaired }) {
			t.Errorf("%+v", r)
		}
	}
}

// withBadger opens the database below a store, without what mends it at a start.
func withBadger(t *testing.T, dir string, fn func(db *DB)) {
	t.Helper()
	b, err := badger.Open(badgerOptions(filepath.Join(dir, badgerDir), Options{Logger: discard()}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	fn(&DB{badger: b, codec: c})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func tamper(t *testing.T, db *DB, fn func(txn *badger.Txn) error) {
	t.Helper()
	if err := db.badger.Update(fn); err != nil {
		t.Fatal(err)
	}
}

func firstKey(t *testing.T, db *DB, of func(key []byte) bool) []byte {
	t.Helper()
	keys, err := db.keys(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(keys, of)
	if i < 0 {
		t.Fatal("the store has no such key")
	}
	return keys[i]
}

// rewriteBlock changes the first block of a run that is one block, past everything that keeps it right.
func rewriteBlock(table Table, change func(s *schema, b *block)) func(t *testing.T, db *DB) {
	return func(t *testing.T, db *DB) {
		key := firstKey(t, db, func(key []byte) bool {
			ref, err := parseHeaderKey(key)
			return err == nil && ref.table == table && ref.level >= closedLevel
		})
		ref, err := parseHeaderKey(key)
		if err != nil {
			t.Fatal(err)
		}
		var h header
		var r *run
		var b block
		err = db.badger.View(func(txn *badger.Txn) error {
			item, err := txn.Get(key)
			if err != nil {
				return err
			}
			if r, err = openRun(db.codec, txn, item); err != nil {
				return err
			}
			if err := r.load(0, &b); err != nil {
				return err
			}
			change(r.s, &b)
			h = header{blockRows: r.head.blockRows}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		tamper(t, db, func(txn *badger.Txn) error {
			if err := db.codec.chunks(r.s, ref, 0, &b, txn.Set); err != nil {
				return err
			}
			return txn.Set(key, h.append(nil))
		})
	}
}

// oneMore counts one page view more in a rollup.
func oneMore(_ *schema, b *block) { b.sums[VisitPageViews][0]++ }

// swapped lets two tuples change places.
func swapped(s *schema, b *block) {
	for _, c := range s.columns {
		b.codes[c][0], b.codes[c][1] = b.codes[c][1], b.codes[c][0]
	}
}

// belowZero takes a page view too many off a tuple.
func belowZero(_ *schema, b *block) { b.sums[VisitPageViews][0] -= 2 }
