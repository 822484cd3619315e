package storage

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Notes are what is told to a site's owner beside the hits: how many were refused and why, how many values were replaced.
// They are rows of the table Hits with a kind of their own, so that they merge, age, and are backed up and checked as all
// others are. No query counts them: hits are told apart by kind (see chosenHits).

// NoteRow is the row that adds n to a note. The names of a kind are a closed list of whoever makes them, and say nothing of
// a visitor. Hour is a clock hour from 0 to 23.
func NoteRow(site uint32, day Day, hour int, kind, name string, n int64) Row {
	r := Row{Site: site, Table: Hits, Day: day}
	r.Dims[Hour], r.Dims[Kind], r.Dims[Name] = HourName(hour), kind, name
	r.Sums[Count] = n
	return r
}

// Refusals returns how many hits of a site were refused on each day from one to another, both included, by reason. Days
// without any are left out. Errors wrap ErrBadQuery, ErrTooManyGroups or ErrNotKept, or are of the store or of ctx.
func (db *DB) Refusals(ctx context.Context, site uint32, from, to Day) (map[Day]map[string]int64, error) {
	return db.Notes(ctx, site, KindRefused, from, to)
}

// Notes returns the notes of a kind by day and name; see Refusals.
func (db *DB) Notes(ctx context.Context, site uint32, kind string, from, to Day) (map[Day]map[string]int64, error) {
	q := Query{Site: site, From: from, To: to, Metrics: []Metric{PageViews}, GroupBy: []Column{Name}, Interval: ByDay}
	p, err := newPlan(&q)
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	p.notes = kind
	if damaged := db.damaged.Load(); damaged != nil {
		return nil, fmt.Errorf("read notes: %w", *damaged)
	}
	j := &job{q: &q, plan: p, groups: make(groups), most: db.maxGroups}
	sc := &scan{db: db, ctx: ctx, jobs: []*job{j}}
	err = db.viewAll(site, from, to, func(txn *badger.Txn, fresh []*run) error {
		sc.txn, sc.fresh = txn, fresh
		return sc.read()
	})
	if err == nil {
		err = j.problem()
	}
	if err != nil {
		return nil, fmt.Errorf("read notes: %w", err)
	}
	noted := make(map[Day]map[string]int64)
	for key, g := range j.groups {
		n := g.sums[events]
		if n == 0 {
			continue
		}
		if noted[key.day] == nil {
			noted[key.day] = make(map[string]int64)
		}
		noted[key.day][key.keys[0]] = n
	}
	return noted, nil
}

// addNotes adds the notes of a job's kind among the rows of the table Hits.
func (v *view) addNotes(j *job, gs groups, sel []uint32) error {
	if err := v.loadColumns(Kind); err != nil {
		return err
	}
	if sel = v.narrow(sel, Kind, func(kind string) bool { return kind == j.plan.notes }); len(sel) == 0 {
		return nil
	}
	axes, err := v.groupAxes(j)
	if err != nil {
		return err
	}
	if err := v.loadMeasures(Count); err != nil {
		return err
	}
	v.slot(sel, axes)
	v.sum(events, Count, sel)
	v.flush(j, gs, axes, events)
	return nil
}
