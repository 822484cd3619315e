package storage

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// scan reads each table once for any number of queries about one site.
type scan struct {
	db   *DB
	ctx  context.Context // of this one call of Query
	txn  *badger.Txn     // read-only, so that several goroutines may get from it
	jobs []*job
}

// job is one query of a scan.
type job struct {
	q      *Query
	plan   *plan
	groups groups
}

// groups are the rows of an answer as they grow.
type groups map[groupKey]*group

func (gs groups) get(key groupKey) *group {
	g := gs[key]
	if g == nil {
		g = &group{}
		gs[key] = g
	}
	return g
}

// groupKey is one row of the answer: a bucket of time and up to two values.
type groupKey struct {
	day  Day
	hour int8
	keys [maxGroupBy]string
}

// field is one sum of a group.
type field uint8

const (
	exactVisitors field = iota
	exactVisits
	upperVisitors // of a set of pages, names or hosts; see distinct.go
	upperVisits
	pageViews
	events // page views and events
	pageVisits
	engaged
	scrollSum
	scrollCount
	wholeVisits
	wholeBounces
	wholeSeconds
	wholeViews
	wholeEvents

	fields
)

// group gathers the sums of one row of the answer.
type group struct {
	sums [fields]int64
	low  [2]int64 // lower bounds of the visitors and visits of sets, of the days that are done
	day  *groupDay
}

// add adds the sums of another group of the same key.
func (g *group) add(o *group) {
	for f, n := range o.sums {
		g.sums[f] += n
	}
	g.low[0] += o.low[0]
	g.low[1] += o.low[1]
}

// dayRuns are the runs of one day, and the rollup of the only one, if there is one.
type dayRuns struct {
	day    Day
	runs   []*run
	rollup *run
}

// table reads all runs of a table that the jobs need. Days are independent of each other, so each goroutine
// takes the next one that is left.
func (sc *scan) table(t Table) error {
	var jobs []*job
	for _, j := range sc.jobs {
		if t == Visits && j.plan.visits || t == Hits && j.plan.hits {
			jobs = append(jobs, j)
		}
	}
	if len(jobs) == 0 {
		return nil
	}
	days, err := sc.days(t, jobs)
	if err != nil {
		return err
	}
	workers := make([]*worker, min(runtime.GOMAXPROCS(0), len(days)))
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range workers {
		w := newWorker(sc, jobs)
		workers[i] = w
		all.Go(func() {
			for w.err == nil {
				n := int(next.Add(1)) - 1
				if n >= len(days) {
					return
				}
				w.err = w.day(days[n])
			}
		})
	}
	all.Wait()
	for _, w := range workers {
		if w.err != nil {
			return w.err
		}
		for i, j := range jobs {
			for key, g := range w.groups[i] {
				j.groups.get(key).add(g)
			}
		}
	}
	return nil
}

// days finds the runs of a table on the days that any of the jobs asks about.
func (sc *scan) days(t Table, jobs []*job) ([]dayRuns, error) {
	site, from, to := jobs[0].q.Site, jobs[0].q.From, jobs[0].q.To
	for _, j := range jobs {
		from, to = min(from, j.q.From), max(to, j.q.To)
	}
	it := sc.txn.NewIterator(badger.IteratorOptions{Prefix: tableHeaders(site, t), PrefetchValues: true, PrefetchSize: 16})
	defer it.Close()
	var days []dayRuns
	for it.Seek(dayHeaders(partition{site, t, from})); it.Valid(); it.Next() {
		r, err := openRun(sc.db.codec, sc.txn, it.Item())
		if err != nil {
			return nil, err
		}
		if r.ref.day > to {
			break
		}
		if len(days) == 0 || days[len(days)-1].day != r.ref.day {
			days = append(days, dayRuns{day: r.ref.day})
		}
		last := &days[len(days)-1]
		last.runs = append(last.runs, r)
	}
	return days, nil
}

// findRollup opens the rollup of a day that is one closed run.
func (d *dayRuns) findRollup(c *codec, txn *badger.Txn) error {
	if len(d.runs) != 1 || d.runs[0].ref.level != closedLevel {
		return nil
	}
	item, err := txn.Get(d.runs[0].ref.rollup().headerKey())
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil // its sums are all zero, or there were too many: the run itself answers
	}
	if err != nil {
		return d.runs[0].wrap(fmt.Errorf("rollup: %w", err))
	}
	d.rollup, err = openRun(c, txn, item)
	return err
}

// worker reads days for all jobs of a table.
type worker struct {
	sc     *scan
	jobs   []*job
	groups []groups // by job
	block  block
	view   view
	err    error
}

func newWorker(sc *scan, jobs []*job) *worker {
	w := &worker{sc: sc, jobs: jobs, groups: make([]groups, len(jobs))}
	for i := range w.groups {
		w.groups[i] = make(groups)
	}
	w.view.block = &w.block
	return w
}

// day adds the runs of a day to the groups of all jobs that ask about it: the rollup to those that it can answer.
func (w *worker) day(d dayRuns) error {
	var whole, rolled []int
	for i, j := range w.jobs {
		if d.day < j.q.From || d.day > j.q.To {
			continue
		}
		if _, ok := j.rolledBy(d.runs[0].ref.table); ok {
			rolled = append(rolled, i)
		} else {
			whole = append(whole, i)
		}
	}
	if len(rolled) > 0 {
		if err := d.findRollup(w.sc.db.codec, w.sc.txn); err != nil {
			return err
		}
		if d.rollup == nil {
			whole, rolled = append(whole, rolled...), nil
		} else if err := w.runs([]*run{d.rollup}, rolled); err != nil {
			return err
		}
	}
	if len(whole) == 0 {
		return nil
	}
	return w.runs(d.runs, whole)
}

// runs adds runs of a day to the groups of some of the jobs.
func (w *worker) runs(runs []*run, jobs []int) error {
	touched := make(map[*group]bool) // groups with bounds to settle at the end of the day
	for _, r := range runs {
		for n, rows := range r.head.blockRows {
			if err := w.sc.ctx.Err(); err != nil {
				return err
			}
			w.block.reset(rows)
			w.view.reset(r, n)
			for _, i := range jobs {
				if err := w.view.add(w.jobs[i], w.groups[i], touched); err != nil {
					return err
				}
			}
		}
	}
	for g := range touched {
		g.settle()
	}
	return nil
}
