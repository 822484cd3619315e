package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"dachs/dashboard"
	"dachs/storage"
	"dachs/tracker"
)

const (
	benchDomain = "example.com"
	// benchViews and benchSiteViews are the page views of the one large site, and those of each of many small sites a day:
	// what the targets of the design speak of.
	benchViews     = 10_000_000
	benchSiteViews = 100
	// benchRepeats is how often a page is asked for; the median is printed.
	benchRepeats = 7
	// benchSettle bounds the wait for merges after the fill.
	benchSettle = 30 * time.Minute
)

// benchCmd is `dachs bench`.
type benchCmd struct {
	Views int    `help:"Page views to make up, 10,000,000 by default. With --sites: of each site and day, 100 by default." default:"0"`
	Days  int    `help:"Days to spread them over." default:"30"`
	Sites int    `help:"Measure a store of this many small sites instead of one large site." default:"0"`
	Hits  int    `help:"Measure a server that takes this many hits instead, beside servers that do less." default:"0"`
	Dir   string `help:"Directory of the store. It is kept, and used again without filling if it is there. Default: a temporary one." placeholder:"DIR"`
}

// bench is one measurement in progress.
type bench struct {
	*benchCmd
	app  *app
	dir  string
	last time.Time // midnight of the last day
	out  *tabwriter.Writer
}

// Run fills a store with made-up page views, through the visit rules and the store as an import does, and prints what it
// takes to keep and to show them. Times are those of this machine at this moment.
func (c *benchCmd) Run(ctx context.Context, a *app) (err error) {
	if c.Views < 0 || c.Days < 1 || c.Sites < 0 || c.Hits < 0 {
		return usagef("--days must be at least 1, --views, --sites and --hits at least 0")
	}
	if c.Views == 0 {
		c.Views = benchViews
		if c.Sites > 0 {
			c.Views = benchSiteViews
		}
	}
	b := &bench{benchCmd: c, app: a, dir: c.Dir, last: a.now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)}
	b.out = tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "dachs-bench-*"); err != nil {
			return fmt.Errorf("make temporary store: %w: set TMPDIR to a directory that can be written to", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	}
	b.line("%d cores, %s", runtime.GOMAXPROCS(0), runtime.Version())
	run := b.runSite
	switch {
	case c.Sites > 0:
		run = b.runSites
	case c.Hits > 0:
		run = b.runHits
	}
	if err := run(ctx); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return b.out.Flush()
}

// runSite measures a store of one large site.
func (b *bench) runSite(ctx context.Context) error {
	b.line("%d page views over %d days", b.Views, b.Days)
	if err := b.fill(ctx); err != nil {
		return err
	}
	return b.measure(ctx)
}

// period is the part of a report's address that asks for all days.
func (b *bench) period() string {
	return "?period=custom&from=" + b.last.AddDate(0, 0, 1-b.Days).Format(time.DateOnly) + "&to=" + b.last.Format(time.DateOnly)
}

func (b *bench) line(format string, args ...any) { fmt.Fprintf(b.out, format+"\n", args...) }

// fill makes up the page views, unless the store has some.
func (b *bench) fill(ctx context.Context) error {
	db, err := storage.Open(b.dir, storage.Options{Logger: b.app.logger})
	if err != nil {
		return err
	}
	defer db.Close()
	if _, ok := db.Site(benchDomain); ok {
		return nil
	}
	site, err := db.AddSite(benchDomain, "UTC")
	if err != nil {
		return err
	}
	start, line := time.Now(), newProgressLine(b.app)
	rows := 0
	for day := range b.Days {
		n, err := b.fillDay(ctx, db, site, newBenchTraffic(uint64(day)), b.last.AddDate(0, 0, day-b.Days+1))
		if err != nil {
			return err
		}
		rows += n
		line.show(fmt.Sprintf("day %d of %d", day+1, b.Days))
	}
	line.clear()
	took := time.Since(start)
	b.line("fill\t%s\t%.1f µs a page view, %.2f rows each, %.2f ms for 1,000 rows", took.Round(time.Second/10),
		took.Seconds()*1e6/float64(b.Views), float64(rows)/float64(b.Views), took.Seconds()*1e6/float64(rows))
	start = time.Now()
	ctx, cancel := context.WithTimeout(ctx, benchSettle)
	defer cancel()
	if err := db.Purge(ctx); err != nil {
		return err
	}
	b.line("merge the rest\t%s", time.Since(start).Round(time.Second/10))
	return nil
}

// fillDay imports one day and returns how many increments it took.
func (b *bench) fillDay(ctx context.Context, db *storage.DB, site storage.Site, t *benchTraffic, midnight time.Time) (rows int, err error) {
	book := tracker.NewBook(db, site, 1, rand.Reader)
	defer book.Close()
	into, err := db.BeginImport(site.ID)
	if err != nil {
		return 0, err
	}
	defer into.Rollback()
	var buf []storage.Row
	err = t.day(midnight, b.Views/b.Days, func(v *benchVisitor, h *tracker.Hit, at time.Time) error {
		var reason tracker.Reason
		if buf, reason = book.Count(v.addr, "", *h, at, buf[:0]); reason != tracker.Accepted {
			return fmt.Errorf("page view was not counted: %s", reason)
		}
		rows += len(buf)
		return errors.Join(ctx.Err(), into.Append(buf...))
	})
	if err != nil {
		return 0, err
	}
	day := storage.DayOf(midnight)
	return rows, into.Commit(storage.Fingerprint{Lines: int64(b.Views / b.Days), First: day, Last: day}, true)
}

// measure opens the store as a server does, and asks for pages.
func (b *bench) measure(ctx context.Context) error {
	size, err := dirSize(b.dir)
	if err != nil {
		return err
	}
	start := time.Now()
	db, err := storage.Open(b.dir, storage.Options{Logger: b.app.logger})
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Append(); err != nil {
		return err
	}
	b.line("start to first commit\t%s\ttarget 1s", time.Since(start).Round(time.Millisecond))
	b.line("disk\t%.2f bytes a page view\ttarget 8", float64(size)/float64(b.Views))
	board, err := dashboard.New(dashboard.Options{Store: db, Open: true, Now: func() time.Time { return b.last.Add(23 * time.Hour) }})
	if err != nil {
		return err
	}
	period := b.period()
	for _, p := range []struct{ what, query, target string }{
		{"whole report", period, "50ms"},
		{"filtered by a page", period + "&f=is,event:page,/docs/1-some-title-of-a-page", "150ms"},
		{"filtered by a rare page", period + "&f=is,event:page,/blog/200-some-title-of-a-page", "150ms"},
		{"filtered by a country", period + "&f=is,visit:country,CO", "150ms"},
		{"filtered by both", period + "&f=is,visit:country,CO&f=is,event:page,/docs/1-some-title-of-a-page", "150ms"},
		{"pages that contain", period + "&f=contains,event:page,shop", "150ms"},
		{"one day", "?period=day", "50ms"},
	} {
		took, err := timePages(ctx, board, "/sites/"+benchDomain+p.query, benchRepeats)
		if err != nil {
			return err
		}
		b.line("%s\t%s\ttarget %s", p.what, took.Round(time.Millisecond/10), p.target)
	}
	b.line("memory now, at most\t%s", strings.Join(memory(), ", "))
	return b.bounds(ctx, db)
}

// timePages asks for a page several times and returns the median time.
func timePages(ctx context.Context, h http.Handler, path string, times int) (time.Duration, error) {
	var took []time.Duration
	for range times {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
		start := time.Now()
		h.ServeHTTP(w, r)
		took = append(took, time.Since(start))
		if w.Code != http.StatusOK {
			return 0, cmp.Or(ctx.Err(), fmt.Errorf("page %s: status %d", path, w.Code))
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// dirSize returns the length of all files of a directory. It is taken while the store is closed: an open one has logs
// that are longer than what is in them.
func dirSize(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}

// memory returns the resident size of this process and its peak, where the system tells.
func memory() []string {
	now, peak := memoryOf(os.Getpid())
	return []string{now, peak}
}

// memoryOf returns the resident size of a process and its peak, where the system tells.
func memoryOf(pid int) (now, peak string) {
	now, peak = "unknown on this system", "unknown on this system"
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return now, peak
	}
	for line := range strings.Lines(string(status)) {
		switch name, value, _ := strings.Cut(line, ":"); name {
		case "VmRSS":
			now = strings.TrimSpace(value)
		case "VmHWM":
			peak = strings.TrimSpace(value)
		}
	}
	return now, peak
}
