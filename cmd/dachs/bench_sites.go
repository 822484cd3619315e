package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"dachs/dashboard"
	"dachs/storage"
	"dachs/tracker"
)

const (
	// benchBatch is how many rows are handed to the store at once: half of what a commit takes.
	benchBatch = 4096
	// benchAhead is how many batches wait for their commit: enough to fill commits, few enough for the queue.
	benchAhead = 12
	// benchAlone is the directory, within that of the store, of a store that holds one of the sites only.
	benchAlone = "alone"
	benchMany  = "many"
)

// benchSite is the domain of a site in a store of many.
func benchSite(n int) string { return fmt.Sprintf("site-%d.example", n) }

// runSites measures a store of many small sites: what it takes to open it, and whether a page of one site costs what
// it costs in a store with that site alone.
func (b *bench) runSites(ctx context.Context) error {
	b.line("%d sites, %d page views a day each, %d days", b.Sites, b.Views, b.Days)
	one := b.Sites / 2
	for _, s := range []struct {
		dir         string
		first, last int
	}{{benchMany, 0, b.Sites - 1}, {benchAlone, one, one}} {
		if err := b.fillSites(ctx, filepath.Join(b.dir, s.dir), s.first, s.last); err != nil {
			return err
		}
	}
	many, err := b.measureSite(ctx, benchMany, one, []string{"target 1s", "target 80 MB"})
	if err != nil {
		return err
	}
	alone, err := b.measureSite(ctx, benchAlone, one, []string{"", ""})
	if err != nil {
		return err
	}
	b.line("report among many / alone\t%.2f\ttarget 1", many.Seconds()/alone.Seconds())
	return nil
}

// fillSites makes up the page views of some sites, day by day as a server would commit them, unless the store is there.
func (b *bench) fillSites(ctx context.Context, dir string, first, last int) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	db, err := storage.Open(dir, storage.Options{Logger: b.app.logger})
	if err != nil {
		return err
	}
	defer db.Close()
	start, line := time.Now(), newProgressLine(b.app)
	f := &siteFill{db: db}
	for n := first; n <= last; n++ {
		site, err := db.AddSite(benchSite(n), "UTC")
		if err != nil {
			return err
		}
		for day := range b.Days {
			midnight := b.last.AddDate(0, 0, day-b.Days+1)
			if err := f.day(ctx, site, newBenchTraffic(uint64(n)<<32|uint64(day)), midnight, b.Views); err != nil {
				return err
			}
		}
		line.show(fmt.Sprintf("site %d of %d", n-first+1, last-first+1))
	}
	err = f.wait(0)
	line.clear()
	if err != nil {
		return err
	}
	b.line("fill %d sites\t%s", last-first+1, time.Since(start).Round(time.Second/10))
	start = time.Now()
	ctx, cancel := context.WithTimeout(ctx, benchSettle)
	defer cancel()
	if err := db.Purge(ctx); err != nil {
		return err
	}
	b.line("merge the rest\t%s", time.Since(start).Round(time.Second/10))
	return nil
}

// siteFill appends days of sites, as live hits are.
type siteFill struct {
	db     *storage.DB
	queued []*storage.Batch
}

func (f *siteFill) day(ctx context.Context, site storage.Site, t *benchTraffic, midnight time.Time, views int) error {
	book := tracker.NewBook(f.db, site, 1, rand.Reader)
	defer book.Close()
	batch := new(storage.Batch)
	err := t.day(midnight, views, func(v *benchVisitor, h *tracker.Hit, at time.Time) error {
		var reason tracker.Reason
		if batch.Rows, reason = book.Count(v.addr, "", *h, at, batch.Rows); reason != tracker.Accepted {
			return fmt.Errorf("page view was not counted: %s", reason)
		}
		if len(batch.Rows) < benchBatch {
			return ctx.Err()
		}
		full := batch
		batch = new(storage.Batch)
		return errors.Join(ctx.Err(), f.submit(full))
	})
	return errors.Join(err, f.submit(batch))
}

func (f *siteFill) submit(b *storage.Batch) error {
	if len(b.Rows) == 0 {
		return nil
	}
	if err := f.wait(benchAhead - 1); err != nil {
		return err
	}
	if err := f.db.Submit(b); err != nil {
		return err
	}
	f.queued = append(f.queued, b)
	return nil
}

// wait waits until no more than n batches are queued.
func (f *siteFill) wait(n int) error {
	for len(f.queued) > n {
		if err := f.queued[0].Wait(); err != nil {
			return err
		}
		f.queued = f.queued[1:]
	}
	return nil
}

// measureSite opens a store as a server does, and returns the median time of a report of one site.
func (b *bench) measureSite(ctx context.Context, dir string, site int, targets []string) (time.Duration, error) {
	debug.FreeOSMemory() // or the memory of the fill would count
	before := memory()
	start := time.Now()
	db, err := storage.Open(filepath.Join(b.dir, dir), storage.Options{Logger: b.app.logger})
	if err != nil {
		return 0, err
	}
	defer db.Close()
	if err := db.Append(); err != nil {
		return 0, err
	}
	b.line("%s: start to first commit\t%s\t%s", dir, time.Since(start).Round(time.Millisecond), targets[0])
	b.line("%s: memory before, and open\t%s, %s\t%s", dir, before[0], memory()[0], targets[1])
	board, err := dashboard.New(dashboard.Options{Store: db, Open: true, Now: func() time.Time { return b.last.Add(23 * time.Hour) }})
	if err != nil {
		return 0, err
	}
	page := "/sites/" + benchSite(site) + b.period()
	first, err := timePages(ctx, board, page, 1)
	if err != nil {
		return 0, err
	}
	took, err := timePages(ctx, board, page, benchRepeats)
	b.line("%s: report of one site\tthe first %s, then %s", dir, first.Round(time.Millisecond/10), took.Round(time.Millisecond/10))
	return took, err
}
