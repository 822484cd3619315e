package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// Query answers q from one consistent state of the store. Errors wrap ErrBadQuery or ErrNotTogether where the
// question is at fault, and ctx's error if it ends first.
func (db *DB) Query(ctx context.Context, q Query) (Result, error) {
	p, err := newPlan(&q)
	if err != nil {
		return Result{}, err
	}
	var res Result
	err = db.badger.View(func(txn *badger.Txn) error {
		sc := &scan{db: db, ctx: ctx, txn: txn, plan: p, q: &q, groups: make(map[groupKey]*group)}
		if p.visits {
			if err := sc.table(Visits); err != nil {
				return err
			}
		}
		if p.hits {
			if err := sc.table(Hits); err != nil {
				return err
			}
		}
		res = sc.result()
		return nil
	})
	if err != nil {
		return Result{}, fmt.Errorf("query: %w", err)
	}
	return res, nil
}

// result turns the groups into ordered rows.
func (sc *scan) result() Result {
	q := sc.q
	rows := make([]ResultRow, 0, len(sc.groups))
	if len(q.GroupBy) == 0 && q.Interval == Whole && len(sc.groups) == 0 {
		sc.groups[groupKey{day: q.From}] = &group{} // one question about everything has one answer
	}
	for key, g := range sc.groups {
		if g.empty() && (len(q.GroupBy) > 0 || q.Interval != Whole) {
			continue
		}
		row := ResultRow{Day: key.day, Hour: int(key.hour), Keys: slices.Clone(key.keys[:len(q.GroupBy)])}
		for _, m := range q.Metrics {
			row.Values = append(row.Values, sc.value(g, m))
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b ResultRow) int { return compareRows(q, &a, &b) })
	res := Result{Total: len(rows)}
	rows = rows[min(q.Offset, len(rows)):]
	if q.Limit > 0 {
		rows = rows[:min(q.Limit, len(rows))]
	}
	res.Rows = rows
	return res
}

// empty reports whether nothing at all was counted in the group.
func (g *group) empty() bool {
	return g.visitors == bound{} && g.visits == bound{} && g.pageViews == 0 && g.events == 0 &&
		g.wholeVisits == 0 && g.wholePageEvents == 0
}

// value computes one metric of a group.
func (sc *scan) value(g *group, m Metric) Value {
	p := sc.plan
	switch m {
	case Visitors:
		return g.visitors.value()
	case VisitsTotal:
		return g.visits.value()
	case PageViews:
		if p.singleWhole {
			return count(g.wholePageViews)
		}
		return count(g.pageViews)
	case Events:
		if p.singleWhole {
			return count(g.wholePageEvents)
		}
		return count(g.events)
	case ViewsPerVisit:
		return ratio(g.wholePageViews, g.wholeVisits, 1)
	case BounceRate:
		return ratio(g.bounces, g.wholeVisits, 100)
	case VisitDuration:
		return ratio(g.seconds, g.wholeVisits, 1)
	case TimeOnPage:
		return ratio(g.engaged, g.pageVisits, 1e-3)
	case ScrollDepth:
		return ratio(g.scrollSum, g.scrollCount, 1)
	}
	return Value{Null: true}
}

func (b bound) value() Value {
	return Value{Number: float64(b.up), Low: float64(min(b.low, b.up)), AtMost: b.low < b.up}
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
			i := slices.Index(q.GroupBy, o.Column)
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

// Days returns the first and last day for which the site has rows; ok is false if there are none.
func (db *DB) Days(site uint32) (first, last Day, ok bool, err error) {
	err = db.badger.View(func(txn *badger.Txn) error {
		prefix := tableHeaders(site, Visits)
		for _, reverse := range []bool{false, true} {
			it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: reverse})
			seek := prefix
			if reverse {
				seek = append(slices.Clone(prefix), 0xff, 0xff, 0xff, 0xff, 0xff)
			}
			it.Seek(seek)
			if it.Valid() {
				ref, err := parseHeaderKey(it.Item().Key())
				if err != nil {
					it.Close()
					return err
				}
				if ok = true; reverse {
					last = ref.day
				} else {
					first = ref.day
				}
			}
			it.Close()
		}
		return nil
	})
	return first, last, ok, err
}
