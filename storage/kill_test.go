package storage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// killedStore names the store that a child process of TestKilledAtAnyMoment works on.
	killedStore = "DACHS_TEST_KILLED_STORE"
	killRounds  = 6
	// hitsPerDay is after how many hits the clock is a day on.
	hitsPerDay = 25
	importRows = 40
)

// killDay is the first day that is counted.
const killDay Day = 20000

// workUntilKilled counts, imports, lets days go by and purges, and says what it was promised, a line each. The clock goes
// on with the number of hits, so that days are closed and become coarse all the time.
func workUntilKilled(dir string, out io.Writer) error {
	var hits atomic.Int64
	start := time.Now().UnixNano() // no name is used twice
	var day atomic.Int64
	db, err := Open(dir, Options{Now: func() time.Time { return Day(day.Load()).Date().Add(12 * time.Hour) }})
	if err != nil {
		return err
	}
	first, last, ok, err := db.Days(1)
	if err != nil {
		return err
	}
	day.Store(int64(killDay))
	if ok && last > first {
		day.Store(int64(last))
	}
	var mu sync.Mutex // guards out
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, format+"\n", args...)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				n := hits.Add(1)
				if n%hitsPerDay == 0 {
					day.Add(1)
					db.merges.ripen(db.ripe)
				}
				path := fmt.Sprintf("/h/%d/%d", start, n)
				if err := db.Append(pageView(1, Day(day.Load()), path, "DE")...); err != nil {
					say("error %v", err)
					return
				}
				say("hit %s", path)
			}
		})
	}
	all.Go(func() {
		for n := 0; ; n++ {
			name := fmt.Sprintf("/i/%d/%d/", start, n)
			im, err := db.BeginImport(1)
			for i := 0; err == nil && i < importRows; i++ {
				err = im.Append(pageView(1, Day(day.Load())-Day(i%7), name+fmt.Sprint(i), "FR")...)
			}
			if err == nil {
				err = im.Commit(Fingerprint{Bytes: start, Lines: int64(n)}, false)
			}
			if err != nil {
				say("error %v", err)
				return
			}
			say("import %s", name)
		}
	})
	all.Go(func() {
		for {
			if err := db.purge(); err != nil {
				say("error %v", err)
				return
			}
			say("purge")
		}
	})
	all.Wait()
	return db.Close()
}

// TestKilledAtAnyMoment kills a process with SIGKILL while it commits, imports, merges, closes days and purges. Whatever it
// was promised is there, once; an import is there as a whole or not at all; and the store is sound.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := memoryDir(t)
	db := mustOpen(t, dir)
	mustSite(t, db, "example.com")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	rounds := killRounds
	if os.Getenv("DACHS_SOAK") != "" {
		rounds = 12 * killRounds
	}
	r := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)) // when a process is killed cannot be repeated anyway
	promised := make(map[string]bool)
	kinds := make(map[string]int)
	// On a slow machine none may come as far as a purge at first.
	for round := 0; round < rounds || kinds["purge"] == 0 && round < 4*rounds; round++ {
		killOneAt(t, dir, 20+r.IntN(1500), promised, kinds)
		checkPromises(t, dir, round, promised)
		if t.Failed() {
			return
		}
	}
	if kinds["hit"] == 0 || kinds["import"] == 0 || kinds["purge"] == 0 {
		t.Errorf("the test shows nothing: %v", kinds)
	}
	t.Log(kinds)
}

// killOneAt starts a process and kills it after some lines.
func killOneAt(t *testing.T, dir string, lines int, promised map[string]bool, kinds map[string]int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killedStore+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	scan := bufio.NewScanner(out)
	for n := 0; scan.Scan(); n++ {
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
		}
		kind, name, _ := strings.Cut(scan.Text(), " ")
		kinds[kind]++
		switch kind {
		case "hit", "import":
			promised[name] = true
		case "purge":
		default:
			t.Error(scan.Text())
		}
	}
	_ = cmd.Wait() // reports the signal
}

// checkPromises opens the store and looks for everything.
func checkPromises(t *testing.T, dir string, round int, promised map[string]bool) {
	t.Helper()
	db := mustOpen(t, dir)
	counted := make(map[string]float64)
	imports := make(map[string]int)
	first, last, _, err := db.Days(1)
	if err != nil {
		t.Fatal(err)
	}
	for day := first; day <= last; day++ {
		res := mustQuery(t, db, Query{Site: 1, From: day, To: day, Metrics: []Metric{PageViews, VisitsTotal}, GroupBy: []Column{Path}, Limit: 100_000})
		for _, row := range res.Rows {
			path := row.Keys[0]
			if row.Values[0].Number != 1 || row.Values[1].Number != 1 {
				t.Errorf("round %d: %s has %v", round, path, row.Values)
			}
			if counted[path] += row.Values[0].Number; strings.HasPrefix(path, "/i/") {
				imports[path[:strings.LastIndexByte(path, '/')+1]]++
			}
		}
		whole := mustQuery(t, db, Query{Site: 1, From: day, To: day, Metrics: []Metric{PageViews, VisitsTotal}, Filters: []Filter{{Column: Country, Op: Is, Values: []string{"DE", "FR"}}}})
		if n := float64(len(res.Rows)); len(res.Rows) > 0 && (whole.Rows[0].Values[0].Number != n || whole.Rows[0].Values[1].Number != n) {
			t.Errorf("round %d: %s has %v pages by itself, %v with a filter", round, day, n, whole.Rows[0].Values)
		}
	}
	lost := 0
	for name := range promised {
		if strings.HasPrefix(name, "/h/") && counted[name] != 1 || strings.HasPrefix(name, "/i/") && imports[name] != importRows {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("round %d: %d of %d promises are not kept", round, lost, len(promised))
	}
	for name, rows := range imports {
		if rows != importRows {
			t.Errorf("round %d: import %s has %d rows of %d", round, name, rows, importRows)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Check(context.Background(), dir, CheckOptions{})
	if err != nil || len(report.Findings) > 0 {
		t.Errorf("round %d: %+v, %v", round, report, err)
	}
}
