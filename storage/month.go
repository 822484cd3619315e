package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// A report over years would read a rollup for every day. So the rollups of a calendar month whose days have all lost their
// hours are summed up once more. The number of a month's run is a hash of the rollups that it was made from: it is used
// only while those are just the ones that there are, so that whatever changes a day makes its month void at once.

// months is the table of the months of a table.
func (t Table) months() Table { return t.base() + 4 }

// monthly reports whether a table holds months.
func (t Table) monthly() bool { return t > visitRollups }

// month is the first day of a day's calendar month.
func (d Day) month() Day {
	t := d.Date()
	return DateDay(t.Year(), t.Month(), 1)
}

// monthEnd is the last day of a day's calendar month.
func (d Day) monthEnd() Day {
	t := d.Date()
	return DateDay(t.Year(), t.Month()+1, 0)
}

// monthID is the number of the run that is made from rollups, which are in the order of days.
func monthID(rollups []runRef) uint64 {
	h := fnv.New64a()
	var b [12]byte
	for _, ref := range rollups {
		binary.BigEndian.PutUint32(b[:], uint32(ref.day))
		binary.BigEndian.PutUint64(b[4:], ref.id)
		h.Write(b[:])
	}
	return h.Sum64()
}

// sortRefs brings the rollups of a month into the order in which their number is made.
func sortRefs(refs []runRef) {
	slices.SortFunc(refs, func(a, b runRef) int {
		return slices.Compare([]uint64{uint64(a.day), a.id}, []uint64{uint64(b.day), b.id})
	})
}

// buildMonths brings the months of a site up to date.
func (db *DB) buildMonths(site uint32) error {
	today, keep, ok := db.today(site)
	if !ok {
		return nil
	}
	for _, t := range []Table{Hits, Visits} {
		want, err := db.wantedMonths(site, t, today-Day(keep.Totals), today-Day(keep.Hours)-1)
		if err != nil {
			return err
		}
		have, err := db.runsOn(site, t.months(), minDay, maxDay)
		if err != nil {
			return err
		}
		for _, ref := range have {
			if rollups := want[ref.day]; rollups != nil && monthID(rollups) == ref.id {
				delete(want, ref.day)
				continue
			}
			if err := db.removeRuns(site, func() []span { return []span{{t.months(), ref.day, ref.day, 0}} }); err != nil {
				return err
			}
		}
		for month, rollups := range want {
			if err := db.buildMonth(site, t.months(), month, rollups); err != nil {
				return err
			}
		}
	}
	return nil
}

// wantedMonths returns the rollups of the months of a table that are worth a run: those that lie between two days, and whose
// days have nothing but rollups and coarse runs that belong to them.
func (db *DB) wantedMonths(site uint32, t Table, first, last Day) (map[Day][]runRef, error) {
	runs, err := db.runsOn(site, t, minDay, last)
	if err != nil {
		return nil, err
	}
	rollups, err := db.runsOn(site, t.rollups(), minDay, last)
	if err != nil {
		return nil, err
	}
	want, rolled := make(map[Day][]runRef), make(map[runRef]bool)
	for _, ref := range rollups {
		if ref.day.month() >= first && ref.day.monthEnd() <= last {
			want[ref.day.month()] = append(want[ref.day.month()], ref)
		}
		rolled[ref] = true
	}
	for _, ref := range runs {
		if ref.level != coarseLevel || !rolled[ref.rollup()] {
			delete(want, ref.day.month())
		}
	}
	for month, refs := range want {
		if len(refs) < 2 {
			delete(want, month)
		}
		sortRefs(refs)
	}
	return want, nil
}

// buildMonth sums up rollups. Where one of them goes away meanwhile, nothing is written.
func (db *DB) buildMonth(site uint32, t Table, month Day, rollups []runRef) error {
	m := &merging{db: db, refs: rollups, keep: true}
	out := runRef{site, t, month, closedLevel, monthID(rollups)}
	err := m.write(out)
	if err == nil {
		err = m.replace()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errStopped):
		return err
	case errors.Is(err, errReplaced) || errors.Is(err, badger.ErrKeyNotFound) || !db.alive(site):
		return m.abort() // looked at again when the day is closed again
	}
	return errors.Join(fmt.Errorf("build month: %w", err), m.abort())
}

// catchUp builds the months of all sites that have changed.
func (db *DB) catchUp() {
	for site, ok := db.merges.takeMonths(); ok; site, ok = db.merges.takeMonths() {
		if err := db.buildMonths(site); err != nil && !errors.Is(err, errStopped) && !errors.Is(err, ErrClosed) {
			db.log.Error("cannot sum up months: long ranges stay slower until the next start", "site", site, "error", err)
		}
		select {
		case <-db.stop:
			return
		case <-time.After(0):
		}
	}
}

// months finds the months that answer jobs in place of their days, and notes with the jobs which days they need not read.
func (sc *scan) months(t Table, jobs []int, days []dayRuns) ([]source, error) {
	wanted := slices.ContainsFunc(jobs, func(i int) bool { return sc.jobs[i].byMonths(t) })
	if !wanted || len(days) == 0 {
		return nil, nil
	}
	have := make(map[Day][]*run)
	err := sc.eachRun(t.months(), days[0].day.month(), days[len(days)-1].day, func(r *run) { have[r.ref.day] = append(have[r.ref.day], r) })
	if err != nil || len(have) == 0 {
		return nil, err
	}
	v := sc.db.views.Get().(*view)
	defer func() { v.forget(); sc.db.views.Put(v) }()
	var found []source
	for len(days) > 0 {
		month := days[0].day.month()
		n := 1
		for n < len(days) && days[n].day.month() == month {
			n++
		}
		id, ok := rolledMonth(days[:n])
		days = days[n:]
		i := slices.IndexFunc(have[month], func(r *run) bool { return r.ref.id == id })
		if !ok || i < 0 {
			continue
		}
		r := have[month][i]
		omitted, err := v.omitted(r)
		if err != nil {
			return nil, err
		}
		by := source{run: r}
		for _, i := range jobs {
			j := sc.jobs[i]
			if of, _ := j.rolledBy(t); j.byMonths(t) && !omitted[of] && j.q.From <= month && month.monthEnd() <= j.q.To {
				by.jobs = append(by.jobs, i)
				j.skip(t, month)
			}
		}
		found = append(found, by)
	}
	return found, nil
}

// rolledMonth returns the number that the run of a month has if it is made from all that these days have.
func rolledMonth(days []dayRuns) (id uint64, ok bool) {
	var rollups []runRef
	for _, d := range days {
		for _, r := range d.runs {
			if d.rollups[r.ref.id] == nil {
				return 0, false
			}
		}
		for _, r := range d.rollups {
			rollups = append(rollups, r.ref)
		}
	}
	sortRefs(rollups)
	return monthID(rollups), true
}

// byMonths reports whether sums of whole months can answer a job from a table.
func (j *job) byMonths(t Table) bool {
	_, ok := j.rolledBy(t)
	return ok && (j.q.Interval == Whole || j.q.Interval == ByMonth)
}

// skip notes that the days of a month need not be read for a table.
func (j *job) skip(t Table, month Day) {
	if j.skipped == nil {
		j.skipped = make(map[partition]bool)
	}
	j.skipped[partition{table: t, day: month}] = true
}

// skips reports whether the month of a day answers the job.
func (j *job) skips(t Table, day Day) bool {
	return j.skipped != nil && j.skipped[partition{table: t, day: day.month()}]
}
