package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// Query answers q from one consistent state of the store. Errors wrap ErrBadQuery, ErrNotTogether or ErrTooManyGroups where
// the question is at fault, ErrNotKept where it comes too late, and ctx's error if ctx ends first.
func (db *DB) Query(ctx context.Context, q Query) (Result, error) {
	answers, err := db.QueryAll(ctx, []Query{q})
	if err != nil {
		return Result{}, err
	}
	return answers[0].Result, answers[0].Err
}

// Answer is the answer to one of several queries. Err says why this one has none.
type Answer struct {
	Result Result
	Err    error // wraps ErrBadQuery, ErrNotTogether, ErrTooManyGroups or ErrNotKept
}

// QueryAll answers several queries about one site from the same consistent state of the store, and reads what they
// have in common once. An error is one of the store or of ctx.
func (db *DB) QueryAll(ctx context.Context, queries []Query) ([]Answer, error) {
	if err := db.damaged.Load(); err != nil {
		return nil, fmt.Errorf("query: %w", *err)
	}
	answers := make([]Answer, len(queries))
	jobs := make([]*job, len(queries))
	sc := &scan{db: db, ctx: ctx}
	for i := range queries {
		q := &queries[i]
		p, err := newPlan(q)
		if err == nil && q.Site != queries[0].Site {
			err = badQuery("queries about several sites at once")
		}
		if err != nil {
			answers[i].Err = fmt.Errorf("query: %w", err)
			continue
		}
		jobs[i] = &job{q: q, plan: p, groups: make(groups), most: db.maxGroups}
		sc.jobs = append(sc.jobs, jobs[i])
		if q.Totals {
			if jobs[i].totals, err = db.newTotals(*q); err != nil {
				return nil, fmt.Errorf("query totals: %w", err)
			}
			sc.jobs = append(sc.jobs, jobs[i].totals)
		}
	}
	from, to := maxDay, minDay
	for _, j := range sc.jobs {
		from, to = min(from, j.q.From), max(to, j.q.To)
	}
	err := db.viewAll(queries[0].Site, from, to, func(txn *badger.Txn, fresh []*run) error {
		sc.txn, sc.fresh = txn, fresh
		return sc.read()
	})
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	for i, j := range jobs {
		switch {
		case j == nil:
		case j.problem() != nil:
			answers[i].Err = fmt.Errorf("query: %w", j.problem())
		default:
			answers[i].Result = j.result()
			if j.totals != nil {
				answers[i].Result.Totals = j.totals.result().Rows[0].Values
			}
		}
	}
	return answers, nil
}

// problem tells why a job or its totals have no answer.
func (j *job) problem() error {
	switch {
	case j.err != nil:
		return j.err
	case j.full.Load():
		return fmt.Errorf("%w: the answer has more than %d; ask for fewer days, set a filter, or group by fewer dimensions",
			ErrTooManyGroups, j.most)
	case j.totals != nil:
		return j.totals.problem()
	}
	return nil
}

// newTotals makes the job that answers a query without its groups and buckets. It reads no block that the query does not read.
func (db *DB) newTotals(q Query) (*job, error) {
	q.GroupBy, q.PropKeys, q.Interval, q.Order, q.Limit, q.Offset, q.Totals = nil, nil, Whole, nil, 0, 0, false
	p, err := newPlan(&q)
	if err != nil {
		return nil, err
	}
	return &job{q: &q, plan: p, groups: make(groups), most: db.maxGroups}, nil
}

// spareRows is how many rows more than the limit are gathered before those beyond it are dropped: sorting is worth it
// for many at once only.
const spareRows = 4096

// result turns the groups into ordered rows.
func (j *job) result() Result {
	q := j.q
	if len(q.GroupBy) == 0 && q.Interval == Whole && len(j.groups) == 0 {
		j.group(j.groups, groupKey{day: q.From}) // one question about everything has one answer
	}
	keep := len(j.groups)
	if q.Limit > 0 && q.Limit < keep-q.Offset {
		keep = q.Offset + q.Limit
	}
	var res Result
	rows := make([]ResultRow, 0, min(len(j.groups), keep+spareRows))
	sorted := func() []ResultRow {
		slices.SortFunc(rows, func(a, b ResultRow) int { return compareRows(q, &a, &b) })
		return rows[:min(keep, len(rows))]
	}
	for key, g := range j.groups {
		if g.empty() && (len(q.GroupBy) > 0 || q.Interval != Whole) {
			continue
		}
		row := ResultRow{Day: key.day, Hour: int(key.hour), Keys: slices.Clone(key.keys[:len(q.GroupBy)])}
		for _, m := range q.Metrics {
			row.Values = append(row.Values, j.value(g, m))
		}
		res.Total++
		if rows = append(rows, row); len(rows) >= keep+spareRows {
			rows = sorted()
		}
	}
	rows = sorted()
	res.Rows = rows[min(q.Offset, len(rows)):]
	return res
}

// empty reports whether nothing at all was counted in the group.
func (g *group) empty() bool { return g.sums == [fields]int64{} }

// value computes one metric of a group.
func (j *job) value(g *group, m Metric) Value {
	switch m {
	case Visitors:
		return bounded(g.sums[exactVisitors], g.sums[upperVisitors], g.low[0])
	case VisitsTotal:
		return bounded(g.sums[exactVisits], g.sums[upperVisits], g.low[1])
	case PageViews:
		return count(g.sums[pageViews] + g.singleWhole(j.plan, wholeViews))
	case Events:
		return count(g.sums[events] + g.singleWhole(j.plan, wholeViews) + g.singleWhole(j.plan, wholeEvents))
	case ViewsPerVisit:
		return ratio(g.sums[wholeViews], g.sums[wholeVisits], 1)
	case BounceRate:
		return ratio(g.sums[wholeBounces], g.sums[wholeVisits], 100)
	case VisitDuration:
		return ratio(g.sums[wholeSeconds], g.sums[wholeVisits], 1)
	case TimeOnPage:
		if g.sums[engaged] == 0 {
			return Value{Null: true} // nothing was measured: logs and older scripts do not tell
		}
		return ratio(g.sums[engaged], g.sums[pageVisits], 1e-3)
	case ScrollDepth:
		return ratio(g.sums[scrollSum], g.sums[scrollCount], 1)
	}
	return Value{Null: true}
}

// singleWhole is a count of single hits that comes from whole visits, if it does.
func (g *group) singleWhole(p *plan, f field) int64 {
	if p.singleWhole {
		return g.sums[f]
	}
	return 0
}

// bounded is an exact count plus one that lies between two bounds.
func bounded(exact, upper, lower int64) Value {
	lower = min(lower, upper)
	return Value{Number: float64(exact + upper), Low: float64(exact + lower), AtMost: lower < upper}
}

func count(n int64) Value { return Value{Number: float64(n), Low: float64(n)} }

// ratio is n*scale/of, or null where there is nothing to divide by.
func ratio(n, of int64, scale float64) Value {
	if of <= 0 {
		return Value{Null: true}
	}
	v := float64(n) * scale / float64(of)
	return Value{Number: v, Low: v}
}

// compareRows orders by the query's Order, and breaks ties by time and keys so that pages of a result never overlap.
func compareRows(q *Query, a, b *ResultRow) int {
	order := q.Order
	if len(order) == 0 {
		order = []Order{{Metric: q.Metrics[0], Desc: true}}
		if q.Interval != Whole {
			order = slices.Insert(order, 0, Order{Time: true})
		}
	}
	for _, o := range order {
		d := 0
		switch {
		case o.Metric != 0:
			i := slices.Index(q.Metrics, o.Metric)
			d = compareValues(a.Values[i], b.Values[i])
		case o.Time:
			d = compareTime(a, b)
		default:
			i := q.dimension(o.Column, o.Prop)
			d = cmp.Compare(a.Keys[i], b.Keys[i])
		}
		if o.Desc {
			d = -d
		}
		if d != 0 {
			return d
		}
	}
	return cmp.Or(compareTime(a, b), slices.Compare(a.Keys, b.Keys))
}

func compareTime(a, b *ResultRow) int {
	return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Hour, b.Hour))
}

// compareValues sorts null below every number.
func compareValues(a, b Value) int {
	if a.Null || b.Null {
		return cmp.Compare(boolInt(!a.Null), boolInt(!b.Null))
	}
	return cmp.Compare(a.Number, b.Number)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Days returns the first and last day for which the site has rows or totals; ok is false if there are none.
func (db *DB) Days(site uint32) (first, last Day, ok bool, err error) {
	first, last = maxDay, minDay
	err = db.view(func(txn *badger.Txn) error {
		for _, t := range []Table{Visits, visitRollups} {
			for _, reverse := range []bool{false, true} {
				ref, found, err := endRun(txn, tableHeaders(site, t), reverse)
				if err != nil {
					return err
				}
				if found {
					first, last, ok = min(first, ref.day), max(last, ref.day), true
				}
			}
		}
		return nil
	})
	if !ok {
		first, last = 0, 0
	}
	return first, last, ok, err
}

// endRun returns the first or last run under a prefix.
func endRun(txn *badger.Txn, prefix []byte, reverse bool) (ref runRef, ok bool, err error) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: reverse})
	defer it.Close()
	seek := prefix
	if reverse {
		seek = append(slices.Clone(prefix), 0xff, 0xff, 0xff, 0xff, 0xff)
	}
	it.Seek(seek)
	if !it.Valid() {
		return runRef{}, false, nil
	}
	ref, err = parseHeaderKey(it.Item().Key())
	return ref, err == nil, err
}
