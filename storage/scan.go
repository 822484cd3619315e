package storage

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// scan reads the tables once for any number of queries about one site.
type scan struct {
	db    *DB
	ctx   context.Context // of this one call of Query
	txn   *badger.Txn     // read-only, so that several goroutines may get from it
	jobs  []*job
	fresh []*run // what small runs hold, as it was when txn began
}

// maxGroups bounds the groups that one query may gather, those of all goroutines together, and with them what they hold of
// a day's pages. Each takes some 300 bytes, so that is 150 MB for a moment; and nobody reads a list of half a million pages.
const maxGroups = 1 << 19

// job is one query of a scan.
type job struct {
	q      *Query
	plan   *plan
	groups groups
	totals *job     // answers the query without groups, if that is wanted
	err    *notKept // why there is no answer
	most   int64    // groups that it may gather
	held   atomic.Int64
	full   atomic.Bool // it has gathered more: there is no answer

	skipped map[partition]bool // months of tables that answer it in place of their days
}

// groups are the rows of an answer as they grow.
type groups map[groupKey]*group

// group finds or adds a group to some groups of the job.
func (j *job) group(gs groups, key groupKey) *group {
	g := gs[key]
	if g == nil {
		g = &group{}
		for i, k := range key.keys {
			key.keys[i] = strings.Clone(k) // would keep the dictionary of a whole block
		}
		gs[key] = g
		j.hold(1)
	}
	return g
}

// hold counts what the job holds in memory.
func (j *job) hold(n int64) {
	if j.held.Add(n) > j.most {
		j.full.Store(true)
	}
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
	low  reach // lower bounds of the visitors and visits of sets, of the days that are done
	day  *groupDay
}

// add adds the sums of another group of the same key.
func (g *group) add(o *group) {
	for f, n := range o.sums {
		g.sums[f] += n
	}
	g.low.add(o.low)
}

// dayRuns are the runs of one day, and the rollups of closed ones.
type dayRuns struct {
	day     Day
	runs    []*run
	rollups map[uint64]*run // by the number of the run, which may be gone: then they are all that is left of it
}

// task is a day or month of a table, and the jobs that need the table.
type task struct {
	table Table
	jobs  []int
	day   dayRuns
	month source // in place of the day, if it has a run
}

// read reads all runs that the jobs need. Days and tables are independent of each other, so each goroutine takes the
// next one that is left.
func (sc *scan) read() error {
	var tasks []task
	for _, t := range []Table{Hits, Visits} { // what takes longer comes first, so that all are done at about the same time
		some, err := sc.tasks(t)
		if err != nil {
			return err
		}
		tasks = append(tasks, some...)
	}
	workers := make([]*worker, min(runtime.GOMAXPROCS(0), len(tasks)))
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range workers {
		w := newWorker(sc)
		workers[i] = w
		all.Go(func() {
			for n := int(next.Add(1)); n <= len(tasks) && w.err == nil; n = int(next.Add(1)) {
				w.err = w.do(&tasks[n-1])
			}
		})
	}
	all.Wait()
	for _, w := range workers {
		w.view.forget()
		sc.db.views.Put(w.view)
	}
	for _, w := range workers {
		if w.err != nil {
			return w.err
		}
		for i, j := range sc.jobs {
			if e := w.failed[i]; e != nil && (j.err == nil || j.err.day < e.day) {
				j.err = e
			}
			j.take(w.groups[i])
		}
	}
	return nil
}

// tasks lists what has to be read of a table.
func (sc *scan) tasks(t Table) ([]task, error) {
	var jobs []int
	for i, j := range sc.jobs {
		if t == Visits && j.plan.visits || t == Hits && j.plan.hits {
			jobs = append(jobs, i)
		}
	}
	if len(jobs) == 0 {
		return nil, nil
	}
	days, err := sc.days(t, jobs)
	if err != nil {
		return nil, err
	}
	months, err := sc.months(t, jobs, days)
	if err != nil {
		return nil, err
	}
	tasks := make([]task, 0, len(months)+len(days))
	for _, m := range months {
		tasks = append(tasks, task{table: t, month: m})
	}
	for _, d := range days {
		tasks = append(tasks, task{table: t, jobs: jobs, day: d})
	}
	return tasks, nil
}

// take adds the groups of a goroutine to those of the job.
func (j *job) take(gs groups) {
	if len(j.groups) == 0 {
		j.groups = gs
		return
	}
	for key, g := range gs {
		if sum := j.groups[key]; sum != nil {
			sum.add(g)
			j.hold(-1)
		} else {
			j.groups[key] = g
		}
	}
}

// days finds the runs of a table on the days that any of the jobs asks about.
func (sc *scan) days(t Table, jobs []int) ([]dayRuns, error) {
	from, to := maxDay, minDay
	for _, i := range jobs {
		from, to = min(from, sc.jobs[i].q.From), max(to, sc.jobs[i].q.To)
	}
	var days []dayRuns
	on := func(day Day) *dayRuns {
		i, ok := slices.BinarySearchFunc(days, day, func(d dayRuns, day Day) int { return cmp.Compare(d.day, day) })
		if !ok {
			days = slices.Insert(days, i, dayRuns{day: day})
		}
		return &days[i]
	}
	err := sc.eachRun(t, from, to, func(r *run) {
		d := on(r.ref.day)
		d.runs = append(d.runs, r)
	})
	if err != nil {
		return nil, err
	}
	for _, r := range sc.fresh {
		if r.ref.table == t && r.ref.day >= from && r.ref.day <= to {
			d := on(r.ref.day)
			d.runs = append(d.runs, r)
		}
	}
	err = sc.eachRun(t.rollups(), from, to, func(r *run) {
		d := on(r.ref.day)
		if d.rollups == nil {
			d.rollups = make(map[uint64]*run, 1)
		}
		d.rollups[r.ref.id] = r
	})
	return days, err
}

// eachRun calls fn with the runs of a table in the order of days, but for small ones, which sc.fresh has.
func (sc *scan) eachRun(t Table, from, to Day, fn func(r *run)) error {
	site := sc.jobs[0].q.Site
	it := sc.txn.NewIterator(badger.IteratorOptions{Prefix: tableHeaders(site, t), PrefetchValues: true, PrefetchSize: 16})
	defer it.Close()
	it.Seek(dayHeaders(partition{site, t, from}))
	for ; it.Valid(); it.Next() {
		for it.Valid() && it.Item().Key()[levelByte] == 0 && t == t.base() { // there may be thousands
			beyond := slices.Clone(it.Item().Key()[:levelByte+1])
			beyond[levelByte]++
			it.Seek(beyond)
		}
		if !it.Valid() {
			break
		}
		r, err := openRun(sc.db.codec, sc.txn, it.Item())
		if err != nil {
			return err
		}
		if r.ref.day > to {
			break
		}
		fn(r)
	}
	return nil
}

// worker does tasks, one after the other.
type worker struct {
	sc     *scan
	table  Table      // of the task
	groups []groups   // by job
	failed []*notKept // by job: why it has no answer
	view   *view
	err    error
}

func newWorker(sc *scan) *worker {
	w := &worker{sc: sc, groups: make([]groups, len(sc.jobs)), failed: make([]*notKept, len(sc.jobs)), view: sc.db.views.Get().(*view)}
	for i := range w.groups {
		w.groups[i] = make(groups)
	}
	return w
}

func (w *worker) do(t *task) error {
	w.table = t.table
	if t.month.run != nil {
		return w.runs([]source{t.month})
	}
	return w.day(t.day, t.jobs)
}

// day adds the runs of a day to the groups of all jobs that ask about it: rollups to those that they can answer.
func (w *worker) day(d dayRuns, jobs []int) error {
	var whole, rolled []int
	for _, i := range jobs {
		j := w.sc.jobs[i]
		if d.day < j.q.From || d.day > j.q.To || j.skips(w.table, d.day) {
			continue
		}
		if _, ok := j.rolledBy(w.table); ok && len(d.rollups) > 0 {
			rolled = append(rolled, i)
		} else {
			whole = append(whole, i)
		}
	}
	if len(whole)+len(rolled) == 0 {
		return nil
	}
	var runs []source
	for _, r := range d.runs {
		rollup := d.rollups[r.ref.id]
		delete(d.rollups, r.ref.id)
		if rollup == nil {
			runs = append(runs, source{r, slices.Concat(whole, rolled)})
			continue
		}
		by, rest, err := w.split(rollup, rolled)
		if err != nil {
			return err
		}
		runs = append(runs, source{rollup, by}, source{r, slices.Concat(whole, rest)})
	}
	for _, rollup := range d.rollups { // their runs have been let go
		by, rest, err := w.split(rollup, rolled)
		if err != nil {
			return err
		}
		runs = append(runs, source{rollup, by})
		for _, i := range slices.Concat(whole, rest) {
			w.fail(i, d.day, leftTotals)
		}
	}
	return w.runs(runs)
}

// source is a run and the jobs that it answers.
type source struct {
	run  *run
	jobs []int
}

// split parts jobs into those that a rollup answers and the rest.
func (w *worker) split(rollup *run, jobs []int) (by, rest []int, err error) {
	omitted, err := w.view.omitted(rollup)
	if err != nil {
		return nil, nil, err
	}
	for _, i := range jobs {
		if of, _ := w.sc.jobs[i].rolledBy(w.table); omitted[of] {
			rest = append(rest, i)
		} else {
			by = append(by, i)
		}
	}
	return by, rest, nil
}

// fail notes that a job has no answer because of a day. The last such day is what it needs to know.
func (w *worker) fail(i int, day Day, left string) {
	if w.failed[i] == nil || w.failed[i].day < day {
		w.failed[i] = &notKept{day, left}
	}
}

// runs adds the runs of a day to the groups of their jobs.
func (w *worker) runs(sources []source) error {
	touched := make(map[*group]*job) // groups with bounds to settle at the end of the day
	runs := 0
	for _, from := range sources {
		if from.run.ref.table == w.table {
			runs++
		}
		if from.run.memory != nil {
			runs++ // it is not sorted: no page is known to be complete
		}
	}
	w.view.numbers, w.view.alone = make(numbers), runs == 1
	for _, from := range sources {
		if err := w.run(from, touched); err != nil {
			return err
		}
	}
	for g, j := range touched {
		g.settle(j)
	}
	return nil
}

func (w *worker) run(from source, touched map[*group]*job) error {
	r := from.run
	jobs := slices.DeleteFunc(slices.Clone(from.jobs), func(i int) bool {
		if w.sc.jobs[i].q.Interval == ByHour && r.ref.level == coarseLevel && r.ref.table == w.table {
			w.fail(i, r.ref.day, leftHours)
		}
		return w.failed[i] != nil // the rest of its rows are of no use
	})
	for n := range r.head.blockRows {
		if len(jobs) == 0 {
			break
		}
		w.view.set(r, n)
		for _, i := range jobs {
			if err := w.sc.ctx.Err(); err != nil {
				return err
			}
			if w.sc.jobs[i].full.Load() {
				continue
			}
			if err := w.view.add(w.sc.jobs[i], w.groups[i], touched); err != nil {
				return err
			}
		}
	}
	return nil
}
