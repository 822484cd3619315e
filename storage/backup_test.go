package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/google/go-cmp/cmp"
)

func mustBackup(tb testing.TB, db *DB, since *RunList) []byte {
	tb.Helper()
	var b bytes.Buffer
	info, err := db.Backup(tb.Context(), &b, since)
	if err != nil {
		tb.Fatal(err)
	}
	if info.Bytes != int64(b.Len()) {
		tb.Errorf("Backup says %d bytes and wrote %d", info.Bytes, b.Len())
	}
	return b.Bytes()
}

// runsOf returns the list of runs of a backup.
func runsOf(tb testing.TB, backup []byte) *RunList {
	tb.Helper()
	list, _, err := VerifyBackup(bytes.NewReader(backup))
	if err != nil {
		tb.Fatal(err)
	}
	return list
}

func backupFiles(backups ...[]byte) []BackupFile {
	files := make([]BackupFile, len(backups))
	for i, b := range backups {
		files[i] = BackupFile{fmt.Sprintf("backup-%d", i), bytes.NewReader(b)}
	}
	return files
}

// mustRestore restores into a new directory and returns it.
func mustRestore(tb testing.TB, o Options, backups ...[]byte) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "new")
	if _, err := Restore(tb.Context(), dir, o, backupFiles(backups...)...); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// dump writes down every key and value of a store but the filler.
func dump(tb testing.TB, db *DB) (lines []string) {
	tb.Helper()
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			if it.Item().Key()[0] == prefixFiller {
				continue
			}
			v, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			lines = append(lines, fmt.Sprintf("%q %x", it.Item().Key(), v))
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return lines
}

// versions counts everything in a store, deletions too.
func versions(tb testing.TB, db *DB) (n int) {
	tb.Helper()
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			n++
		}
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// randomRows are rows of two sites over four days. Every third path is long, so that runs are too large for their headers.
func randomRows(r *rand.Rand, n int) (rows []Row) {
	for range n {
		path := fmt.Sprintf("/%d", r.IntN(50))
		if r.IntN(3) == 0 {
			path += strings.Repeat(fmt.Sprintf("-%x", r.Uint64()), 40)
		}
		rows = append(rows, pageView(uint32(1+r.IntN(2)), Day(20000+r.IntN(4)), path, fmt.Sprintf("C%d", r.IntN(9)))...)
	}
	return rows
}

// answersOf asks a store some of everything.
func answersOf(tb testing.TB, db *DB) (all []string) {
	tb.Helper()
	for _, site := range db.Sites() {
		for _, q := range []Query{
			{Metrics: testMetrics},
			{Metrics: testMetrics, Interval: ByDay},
			{Metrics: testMetrics, GroupBy: []Column{Path, Country}},
			{Metrics: testMetrics, GroupBy: []Column{Entry}, Filters: []Filter{{Column: Country, Op: IsNot, Values: []string{"C1", "C2"}}}},
		} {
			q.Site, q.From, q.To = site.ID, 19990, 20010
			all = append(all, site.Domain+"\n"+table(mustQuery(tb, db, q)))
		}
	}
	return all
}

func settle(tb testing.TB, db *DB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	if err := db.Settle(ctx); err != nil {
		tb.Fatal(err)
	}
}

func mustAppend(tb testing.TB, db *DB, rows []Row, batch int) {
	tb.Helper()
	for part := range slices.Chunk(rows, batch) {
		if err := db.Append(part...); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestRestoredStoreAnswersTheSame backs up stores in several states, restores them, and goes on with what was restored.
func TestRestoredStoreAnswersTheSame(t *testing.T) {
	key := bytes.Repeat([]byte{7}, KeyBytes)
	tests := map[string]struct {
		prepare  func(db *DB)
		from, to []byte // encryption keys
	}{
		"merged":            {func(db *DB) { settle(t, db) }, nil, nil},
		"to be encrypted":   {func(*DB) {}, nil, key},
		"with another key":  {func(db *DB) { settle(t, db) }, key, bytes.Repeat([]byte{8}, KeyBytes)},
		"with open import":  {func(db *DB) { openImport(t, db) }, nil, nil},
		"with removed site": {func(db *DB) { removeSite(t, db, "second.example") }, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rows := randomRows(rand.New(rand.NewPCG(3, 4)), 400)
			db, err := Open(t.TempDir(), Options{EncryptionKey: tt.from})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			mustSite(t, db, "example.com")
			mustSite(t, db, "second.example")
			mustAppend(t, db, rows, 80)
			tt.prepare(db)
			if name == "merged" && !hasChunks(t, db) {
				t.Fatal("all runs are in their headers: the test shows little")
			}
			want := answersOf(t, db)
			dir := mustRestore(t, Options{EncryptionKey: tt.to}, mustBackup(t, db, nil))
			restored, err := Open(dir, Options{EncryptionKey: tt.to})
			if err != nil {
				t.Fatal(err)
			}
			defer restored.Close()
			if diff := cmp.Diff(want, answersOf(t, restored)); diff != "" {
				t.Errorf("restored:\n%s", diff)
			}
			more := randomRows(rand.New(rand.NewPCG(5, 6)), 40)
			mustAppend(t, db, more, 10)
			mustAppend(t, restored, more, 25)
			settle(t, restored)
			if diff := cmp.Diff(answersOf(t, db), answersOf(t, restored)); diff != "" {
				t.Errorf("after more hits and merges:\n%s", diff)
			}
		})
	}
}

func hasChunks(t *testing.T, db *DB) bool {
	t.Helper()
	chunks, err := db.keys([]byte{prefixChunk}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return len(chunks) > 0
}

// openImport leaves chunks without header in the store.
func openImport(t *testing.T, db *DB) {
	t.Helper()
	im, err := db.BeginImport(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := im.Append(pageView(1, 20001, "/not-committed", "DE")...); err != nil {
		t.Fatal(err)
	}
	if err := im.flush(); err != nil {
		t.Fatal(err)
	}
	if keys, err := db.keys([]byte{prefixGarbage}, 0); err != nil || len(keys) == 0 {
		t.Fatalf("no garbage marks, %v", err)
	}
}

func removeSite(t *testing.T, db *DB, domain string) {
	t.Helper()
	if err := db.RemoveSite(domain); err != nil {
		t.Fatal(err)
	}
}

// TestIncrementsRestoreTheLastState makes a chain of backups while hits come, runs merge and a site goes, and restores it.
// The restored keys are those of the store and no others.
func TestIncrementsRestoreTheLastState(t *testing.T) {
	now := Day(20003).Date()
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	mustSite(t, db, "example.com")
	mustSite(t, db, "second.example")
	r := rand.New(rand.NewPCG(7, 8))
	mustAppend(t, db, randomRows(r, 300), 50)
	settle(t, db)
	full := mustBackup(t, db, nil)

	mustAppend(t, db, pageView(1, 20003, "/new", "DE"), 2)
	settle(t, db)
	first := mustBackup(t, db, runsOf(t, full))
	if len(first) > len(full)/2 {
		t.Errorf("an increment of one hit has %d bytes, all has %d", len(first), len(full))
	}
	unchanged := mustBackup(t, db, runsOf(t, first))
	if _, info, err := VerifyBackup(bytes.NewReader(unchanged)); err != nil || info.Written != 0 || info.Runs == 0 {
		t.Errorf("an increment of nothing: %+v, %v", info, err)
	}

	now = Day(20004).Date() // all days are over
	mustAppend(t, db, randomRows(r, 100), 50)
	settle(t, db)
	removeSite(t, db, "second.example")
	second := mustBackup(t, db, runsOf(t, unchanged))

	restored := mustOpen(t, mustRestore(t, Options{}, full, first, unchanged, second))
	if diff := cmp.Diff(dump(t, db), dump(t, restored)); diff != "" {
		t.Errorf("restored:\n%s", diff)
	}
	if sites := restored.Sites(); len(sites) != 1 {
		t.Errorf("restored %d sites", len(sites))
	}
	// The files hold what is restored and not more: nothing was written and deleted again.
	if got, want := versions(t, restored), len(dump(t, restored)); got != want {
		t.Errorf("%d versions of %d keys", got, want)
	}
	if _, err := Restore(t.Context(), filepath.Join(t.TempDir(), "x"), Options{}, backupFiles(full, second)...); !errors.Is(err, ErrBackup) {
		t.Errorf("Restore without the increments between = %v", err)
	}
}

func TestBackupsOfOneStateAreEqual(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	mustSite(t, db, "example.com")
	mustSite(t, db, "second.example")
	mustAppend(t, db, randomRows(rand.New(rand.NewPCG(1, 1)), 300), 50)
	settle(t, db)
	one := mustBackup(t, db, nil)
	if _, err := db.CreateLogin(time.Hour); err != nil {
		t.Fatal(err)
	}
	if two := mustBackup(t, db, nil); !bytes.Equal(one, two) {
		t.Errorf("backups of %d and %d bytes differ", len(one), len(two))
	}
	restored := mustOpen(t, mustRestore(t, Options{}, one))
	settle(t, restored)
	if again := mustBackup(t, restored, nil); !bytes.Equal(one, again) {
		t.Errorf("the backup of the restored store differs: %d and %d bytes", len(one), len(again))
	}
}

// TestBackupLeavesOutWhatOpensADashboard restores a store with every kind of secret.
func TestBackupLeavesOutWhatOpensADashboard(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	link, err := db.CreateSetup(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.FinishSetup(link, Owner{PasswordHash: "$argon2id$x"}); err != nil {
		t.Fatal(err)
	}
	if link, err = db.CreateSetup(time.Hour); err != nil { // a second link, still open
		t.Fatal(err)
	}
	login, err := db.CreateLogin(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	_, token, err := db.CreateToken(site.ID, ScopeStats)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.fill(10); err != nil {
		t.Fatal(err)
	}
	restored := mustOpen(t, mustRestore(t, Options{}, mustBackup(t, db, nil)))
	for _, line := range dump(t, restored) {
		for _, secret := range []string{link, login, hashSecret(link), hashSecret(login), "login/", "setup/"} {
			if strings.Contains(line, secret) || strings.Contains(line, fmt.Sprintf("%x", secret)) {
				t.Errorf("the backup holds %s", line)
			}
		}
	}
	if fillers, err := restored.keys([]byte{prefixFiller}, 0); err != nil || len(fillers) > 0 {
		t.Errorf("the backup holds %q, %v", fillers, err)
	}
	if _, err := restored.TokenOf(token); err != nil {
		t.Errorf("token: %v", err)
	}
	if o, ok, err := restored.Owner(); !ok || err != nil || o.PasswordHash != "$argon2id$x" {
		t.Errorf("owner: %+v, %v, %v", o, ok, err)
	}
	if diff := cmp.Diff(db.Sites(), restored.Sites(), cmp.AllowUnexported(Site{}), cmp.Comparer(func(a, b *time.Location) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("sites:\n%s", diff)
	}
}

// TestBackupLeavesOutRemovedSites has a removal cut short by a crash.
func TestBackupLeavesOutRemovedSites(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	mustSite(t, db, "second.example")
	mustAppend(t, db, append(pageView(1, 20000, "/gone", "DE"), pageView(2, 20000, "/stays", "DE")...), 4)
	if err := db.update(func(txn *badger.Txn) error { return dropSiteRecord(txn, site, nil) }); err != nil {
		t.Fatal(err)
	}
	restored := mustOpen(t, mustRestore(t, Options{}, mustBackup(t, db, nil)))
	for _, line := range dump(t, restored) {
		if strings.Contains(line, "removed") || strings.Contains(line, fmt.Sprintf("%x", "/gone")) {
			t.Errorf("the backup holds %s", line)
		}
	}
	if got := answersOf(t, restored); len(got) == 0 || !strings.Contains(strings.Join(got, ""), `"/stays"`) {
		t.Errorf("the other site answers %s", got)
	}
	if s := mustSite(t, restored, "third.example"); s.ID != 3 {
		t.Errorf("the next site has the number %d, want one that was never used", s.ID)
	}
}

// TestBackupBesideIngestion backs up while hits come and runs merge. A page view raises two tables in one commit, so that a
// state in between commits shows.
func TestBackupBesideIngestion(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if err := db.Append(pageView(site.ID, Day(20000+i%3), fmt.Sprintf("/%d/%d", w, i%99), "DE")...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	total := Query{Site: site.ID, From: 20000, To: 20002, Metrics: []Metric{PageViews, VisitsTotal, Visitors}}
	last := 0.0
	var chain [][]byte
	for range 3 {
		before := mustQuery(t, db, total).Rows
		var since *RunList
		if len(chain) > 0 {
			since = runsOf(t, chain[len(chain)-1])
		}
		chain = append(chain, mustBackup(t, db, since))
		restored := mustOpen(t, mustRestore(t, Options{}, chain...))
		values := mustQuery(t, restored, total).Rows
		if len(values) == 0 {
			values = []ResultRow{{Values: make([]Value, 3)}}
		}
		n := values[0].Values[0].Number
		if n != values[0].Values[1].Number || n != values[0].Values[2].Number || n < last {
			t.Errorf("restored %v, before %v", values[0].Values, last)
		}
		if len(before) > 0 && n < before[0].Values[0].Number {
			t.Errorf("restored %g page views, %g were there before", n, before[0].Values[0].Number)
		}
		last = n
		restored.Close()
	}
	close(stop)
	wg.Wait()
	if last == 0 {
		t.Error("nothing was counted meanwhile: the test shows nothing")
	}
}

// TestBackupWithSlowReader stops a backup in the middle. Meanwhile hits, questions, merges and removals go on; what it
// writes afterwards is the state of its beginning, and what was removed meanwhile leaves the files when it is done.
func TestBackupWithSlowReader(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	mustSite(t, db, "example.com")
	mustSite(t, db, "needle.example")
	mustAppend(t, db, randomRows(rand.New(rand.NewPCG(1, 1)), 300), 100)
	mustAppend(t, db, pageView(2, 20000, "/needle", "DE"), 2)
	settle(t, db)
	want := answersOf(t, db)
	w := &slowWriter{stopped: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := db.Backup(t.Context(), w, nil)
		done <- err
	}()
	<-w.stopped
	mustAppend(t, db, randomRows(rand.New(rand.NewPCG(2, 2)), 50), 5)
	removeSite(t, db, "needle.example")
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := db.Purge(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Purge during a backup = %v", err)
	}
	mustAppend(t, db, randomRows(rand.New(rand.NewPCG(4, 4)), 50)[:20], 5)
	if got := answersOf(t, db); len(got) != 4 {
		t.Errorf("answers of %d questions", len(got))
	}
	if countInFiles(t, db.dir, "needle") == 0 {
		t.Error("what the backup still reads has left the files, or the search cannot find it")
	}
	close(w.goOn)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	restored := mustOpen(t, mustRestore(t, Options{}, w.Bytes()))
	if diff := cmp.Diff(want, answersOf(t, restored)); diff != "" {
		t.Errorf("restored:\n%s", diff)
	}
	for deadline := time.Now().Add(20 * time.Second); countInFiles(t, db.dir, "needle") > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("what was removed has not left the files after the backup")
		}
	}
}

// slowWriter stops at its first byte.
type slowWriter struct {
	bytes.Buffer
	stopped, goOn chan struct{}
}

func (w *slowWriter) Write(p []byte) (int, error) {
	if w.Len() == 0 {
		close(w.stopped)
		<-w.goOn
	}
	return w.Buffer.Write(p)
}

// TestCloseEndsBackups closes a store in the middle of a backup.
func TestCloseEndsBackups(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	mustSite(t, db, "example.com")
	w := &slowWriter{stopped: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error, 1)
	go func() {
		_, err := db.Backup(t.Context(), w, nil)
		done <- err
	}()
	<-w.stopped
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	<-db.stop
	select {
	case err := <-closed:
		t.Errorf("Close = %v before the backup had ended", err)
		closed <- err
	case <-time.After(50 * time.Millisecond): // enough to be wrong, and harmless if not
	}
	close(w.goOn)
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("Backup = %v", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// TestBackupThatCannotBeWrittenOrReadFails has one case for each way in which no backup may come out.
func TestBackupThatCannotBeWrittenOrReadFails(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	mustSite(t, db, "example.com")
	mustAppend(t, db, randomRows(rand.New(rand.NewPCG(1, 1)), 1000), 500)
	settle(t, db)
	gone := errors.New("gone")
	if _, err := db.Backup(t.Context(), failingWriter{gone}, nil); !errors.Is(err, gone) {
		t.Errorf("Backup to a broken pipe = %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := db.Backup(cancelled, io.Discard, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup after its end = %v", err)
	}
	list := runsOf(t, mustBackup(t, db, nil))
	list.format = Format + 1
	if _, err := db.Backup(t.Context(), io.Discard, list); !errors.Is(err, ErrBackup) || !strings.Contains(err.Error(), "make a full backup") {
		t.Errorf("Backup since one of another format = %v", err)
	}
	chunks, err := db.keys([]byte{prefixChunk}, 1)
	if err != nil || len(chunks) != 1 {
		t.Fatalf("no chunks, %v", err)
	}
	if err := db.update(func(txn *badger.Txn) error { return txn.Delete(chunks[0]) }); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Backup(t.Context(), io.Discard, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("Backup of a store that lacks a chunk = %v", err)
	}
	db.Close()
	if _, err := db.Backup(t.Context(), io.Discard, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Backup of a closed store = %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestRunListsSurviveTheirWay(t *testing.T) {
	var list RunList
	list.format = 1
	for i := range 100 {
		if err := list.add(runRef{1, Hits, Day(i), 0, uint64(i * 7)}.headerKey()); err != nil {
			t.Fatal(err)
		}
	}
	for n, l := range map[int]*RunList{0: {format: 1}, 100: &list} {
		b, err := l.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRunList(b)
		if err != nil || got.Len() != n || got.sum() != l.sum() || got.format != 1 {
			t.Errorf("%d runs came back as %d, %v", n, got.Len(), err)
		}
		for cut := range b {
			if got, err := ParseRunList(b[:cut]); err == nil && got.Len() >= n {
				t.Errorf("%d of %d bytes are %d runs", cut, len(b), got.Len())
			}
		}
	}
	if _, err := ParseRunList(append([]byte{1, 19}, bytes.Repeat(runRef{}.headerKey(), 2)...)); err == nil {
		t.Error("a list with one run twice was taken")
	}
}
