package storage

import (
	"context"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// groupKey is one row of the answer: a bucket of time and up to two values.
type groupKey struct {
	day  Day
	hour int8
	keys [maxGroupBy]string
}

// bound is a distinct count that lies between low and up. While a day is scanned, entries and singles gather
// what gives its lower bound.
type bound struct{ low, up int64 }

// group gathers the sums of one row of the answer.
type group struct {
	visitors, visits                bound
	pageViews, events               int64 // hits
	engaged, pageVisits             int64
	scrollSum, scrollCount          int64
	wholeVisits, bounces, seconds   int64 // of whole visits
	wholePageViews, wholePageEvents int64

	day *groupDay
}

// groupDay is what a group knows of the day that is being scanned: a set of paths (names, hosts) has at least
// as many visitors as the most visited of them, and as entered the site through the set.
type groupDay struct {
	entries [2]int64 // visitors, visits
	singles map[string]*[2]int64
}

func (d *groupDay) single(it string, visitors, visits int64) {
	s := d.singles[it]
	if s == nil {
		s = new([2]int64)
		d.singles[it] = s
	}
	s[0] += visitors
	s[1] += visits
}

// settle adds the day's lower bounds.
func (g *group) settle() {
	if g.day == nil {
		return
	}
	low := g.day.entries
	for _, s := range g.day.singles {
		low[0], low[1] = max(low[0], s[0]), max(low[1], s[1])
	}
	g.visitors.low += low[0]
	g.visits.low += low[1]
	g.day = nil
}

// scan reads the tables for one query in one state of the store.
type scan struct {
	db     *DB
	ctx    context.Context // of this one call of Query
	txn    *badger.Txn
	plan   *plan
	q      *Query
	groups map[groupKey]*group
}

// table reads all runs of a table between the days of the query.
func (sc *scan) table(t Table) error {
	prefix := tableHeaders(sc.q.Site, t)
	it := sc.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchValues: true, PrefetchSize: 16})
	defer it.Close()
	last := sc.q.From
	for it.Seek(dayHeaders(partition{sc.q.Site, t, sc.q.From})); it.Valid(); it.Next() {
		r, err := openRun(sc.db.codec, sc.txn, it.Item())
		if err != nil {
			return err
		}
		if r.ref.day > sc.q.To {
			break
		}
		if r.ref.day != last {
			sc.settle()
			last = r.ref.day
		}
		for n := range r.head.blockRows {
			if err := sc.ctx.Err(); err != nil {
				return err
			}
			if err := sc.block(r, n); err != nil {
				return err
			}
		}
	}
	sc.settle()
	return nil
}

func (sc *scan) settle() {
	for _, g := range sc.groups {
		g.settle()
	}
}

// view is a block with the columns and measures that the query needs.
type view struct {
	*block
	sc     *scan
	run    *run
	n      int
	day    Day
	keep   [][]bool   // by filter: whether a code passes
	codes  [][]uint16 // by filter
	inSet  map[Column][]bool
	cached map[uint64]*group
}

// block adds the rows of one block to the groups.
func (sc *scan) block(r *run, n int) error {
	v := &view{block: &block{rows: r.head.blockRows[n]}, sc: sc, run: r, n: n, day: r.ref.day,
		inSet: make(map[Column][]bool), cached: make(map[uint64]*group)}
	if pass, err := v.filters(); err != nil || !pass {
		return err
	}
	if r.ref.table == Visits {
		return v.addVisits()
	}
	return v.addHits()
}

// filters prepares the filters; it returns false if no row of the block can pass.
func (v *view) filters() (bool, error) {
	for i := range v.sc.q.Filters {
		f := &v.sc.q.Filters[i]
		c := v.sc.plan.column(v.run.ref.table, f.Column)
		if err := v.run.loadColumn(v.n, v.block, c); err != nil {
			return false, err
		}
		keep := make([]bool, len(v.dicts[c]))
		for code, value := range v.dicts[c] {
			keep[code] = f.passes(value)
		}
		if !slices.Contains(keep, true) {
			return false, nil
		}
		v.keep = append(v.keep, keep)
		v.codes = append(v.codes, v.block.codes[c])
	}
	return true, nil
}

func (v *view) passes(row int) bool {
	for i, keep := range v.keep {
		if !keep[v.codes[i][row]] {
			return false
		}
	}
	return true
}

func (v *view) load(cols []Column, measures []Measure) error {
	for _, c := range cols {
		if err := v.run.loadColumn(v.n, v.block, c); err != nil {
			return err
		}
	}
	for _, c := range v.sc.q.GroupBy {
		if err := v.run.loadColumn(v.n, v.block, v.sc.plan.column(v.run.ref.table, c)); err != nil {
			return err
		}
	}
	if v.sc.q.Interval == ByHour {
		if err := v.run.loadColumn(v.n, v.block, Hour); err != nil {
			return err
		}
	}
	for _, m := range measures {
		if err := v.run.loadMeasure(v.n, v.block, m); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) value(c Column, row int) string { return v.dicts[c][v.block.codes[c][row]] }

// group returns the group of a row. Within a block codes stand for values.
func (v *view) group(row int) *group {
	q := v.sc.q
	var cacheKey uint64
	for _, c := range q.GroupBy {
		cacheKey = cacheKey<<17 | uint64(v.block.codes[v.sc.plan.column(v.run.ref.table, c)][row])
	}
	if q.Interval == ByHour {
		cacheKey = cacheKey<<17 | uint64(v.block.codes[Hour][row])
	}
	if g := v.cached[cacheKey]; g != nil {
		return g
	}
	key := groupKey{day: bucketDay(q, v.day)}
	if q.Interval == ByHour {
		key.hour = parseHour(v.value(Hour, row))
	}
	for i, c := range q.GroupBy {
		key.keys[i] = v.value(v.sc.plan.column(v.run.ref.table, c), row)
	}
	g := v.sc.groups[key]
	if g == nil {
		g = &group{}
		v.sc.groups[key] = g
	}
	v.cached[cacheKey] = g
	return g
}

// bucketDay returns the first day of the bucket of d.
func bucketDay(q *Query, d Day) Day {
	switch q.Interval {
	case ByHour, ByDay:
		return d
	case ByWeek:
		return d - Day((int(d.Date().Weekday())+6)%7)
	case ByMonth:
		t := d.Date()
		return DateDay(t.Year(), t.Month(), 1)
	}
	return q.From
}

// parseHour reads what HourName writes; an unknown hour, as after coarsening, is 0.
func parseHour(s string) int8 {
	if len(s) != 2 {
		return 0
	}
	return int8(s[0]-'0')*10 + int8(s[1]-'0')
}

// HourName is the value of the column Hour for a clock hour from 0 to 23.
func HourName(hour int) string { return string([]byte{'0' + byte(hour/10), '0' + byte(hour%10)}) }

// addVisits adds rows of the table Visits.
func (v *view) addVisits() error {
	visitors := VisitVisitors
	if v.sc.q.Interval == ByHour {
		visitors = VisitHourVisitors
	}
	err := v.load([]Column{Entry}, []Measure{VisitCount, visitors, Bounces, VisitPageViews, VisitEvents, Seconds})
	if err != nil {
		return err
	}
	for row := range v.rows {
		// A visit that has seen no page has no entry page: it is not one of any page.
		if !v.passes(row) || v.sc.plan.pageOnly && v.value(Entry, row) == "" {
			continue
		}
		g := v.group(row)
		g.wholeVisits += v.sums[VisitCount][row]
		g.bounces += v.sums[Bounces][row]
		g.seconds += v.sums[Seconds][row]
		g.wholePageViews += v.sums[VisitPageViews][row]
		g.wholePageEvents += v.sums[VisitPageViews][row] + v.sums[VisitEvents][row]
		if v.sc.plan.unit == unitVisit {
			g.visitors.up += v.sums[visitors][row]
			g.visitors.low += v.sums[visitors][row]
			g.visits.up += v.sums[VisitCount][row]
			g.visits.low += v.sums[VisitCount][row]
		}
	}
	return nil
}

// kinds of a row of Hits, by code of the column Kind.
func (v *view) kinds() []string { return v.dicts[Kind] }

// addHits adds rows of the table Hits.
func (v *view) addHits() error {
	visitors := HitVisitors
	if v.sc.q.Interval == ByHour {
		visitors = HourVisitors
	}
	measures := []Measure{Count, HitVisits, visitors}
	if v.sc.plan.wants[TimeOnPage] || v.sc.plan.wants[ScrollDepth] {
		measures = append(measures, Engaged, ScrollSum, ScrollCount)
	}
	if err := v.load(append([]Column{Kind}, v.sc.plan.unitColumns()...), measures); err != nil {
		return err
	}
	if v.sc.plan.set {
		v.prepareSet()
	}
	for row := range v.rows {
		if !v.passes(row) {
			continue
		}
		kind := v.kinds()[v.block.codes[Kind][row]]
		g := v.group(row)
		if kind == KindPageView {
			g.pageViews += v.sums[Count][row]
			g.pageVisits += v.sums[HitVisits][row]
			if v.sums[Engaged] != nil {
				g.engaged += v.sums[Engaged][row]
				g.scrollSum += v.sums[ScrollSum][row]
				g.scrollCount += v.sums[ScrollCount][row]
			}
		}
		if kind != KindHost {
			g.events += v.sums[Count][row]
		}
		v.addDistinct(g, row, kind, v.sums[visitors][row], v.sums[HitVisits][row])
	}
	return nil
}

// unitColumns are the columns that tell the first of it, and what it is.
func (p *plan) unitColumns() []Column {
	switch {
	case p.unit == unitPath && p.set:
		return []Column{Path, Previous, Entry}
	case p.unit == unitName:
		return []Column{Name, Path, Previous, Entry}
	case p.unit == unitHost && p.set:
		return []Column{Hostname}
	}
	return nil
}

// prepareSet finds which previous and entry pages belong to the set of paths that the filters describe.
// Without a filter over paths that is every page.
func (v *view) prepareSet() {
	if v.sc.plan.unit == unitHost {
		return
	}
	for _, c := range []Column{Previous, Entry} {
		in := make([]bool, len(v.dicts[c]))
		for code, value := range v.dicts[c] {
			in[code] = value != ""
			for i := range v.sc.q.Filters {
				if f := &v.sc.q.Filters[i]; f.Column == Path && !f.passes(value) {
					in[code] = false
				}
			}
		}
		v.inSet[c] = in
	}
}

// addDistinct adds the visitors and visits for whom a row was the first of it. Where a group holds one "it"
// the sum is exact. Where it may hold several, the sum over rows that come from outside the set is an upper
// bound: whoever has a hit in the set is counted at the first such hit, since the page before it lay outside
// and the entry page too, unless this is the entry; and is counted twice only after leaving the set and coming
// back to another page of it.
func (v *view) addDistinct(g *group, row int, kind string, visitors, visits int64) {
	if visitors == 0 && visits == 0 {
		return
	}
	switch v.sc.plan.unit {
	case unitPath:
		if kind != KindPageView {
			return
		}
		if v.sc.plan.set {
			v.addSet(g, row, v.value(Path, row), visitors, visits)
			return
		}
		g.visitors.up, g.visitors.low = g.visitors.up+visitors, g.visitors.low+visitors
		g.visits.up, g.visits.low = g.visits.up+visits, g.visits.low+visits
	case unitName:
		switch kind {
		case KindPageView:
			v.addSet(g, row, "/"+v.value(Path, row), visitors, visits)
		case KindEvent:
			v.addSingle(g, v.value(Name, row), visitors, visits)
		}
	case unitHost:
		if kind != KindHost {
			return
		}
		it := ""
		if v.sc.plan.set {
			it = v.value(Hostname, row)
		}
		v.addSingle(g, it, visitors, visits)
	}
}

// addSingle adds a count that overlaps with those of other values of it in an unknown way.
func (v *view) addSingle(g *group, it string, visitors, visits int64) {
	g.visitors.up += visitors
	g.visits.up += visits
	g.today().single(it, visitors, visits)
}

// addSet adds a count of a page of the set.
func (v *view) addSet(g *group, row int, it string, visitors, visits int64) {
	day := g.today()
	day.single(it, visitors, visits)
	previous := v.value(Previous, row)
	if previous == "" {
		day.entries[0] += visitors
		day.entries[1] += visits
	}
	fromOutside := previous == "" ||
		!v.inSet[Previous][v.block.codes[Previous][row]] && !v.inSet[Entry][v.block.codes[Entry][row]]
	if fromOutside {
		g.visits.up += visits
	}
	// Visitors of an hour may have been in the set since the hour before: the plain sum is their bound.
	if fromOutside || v.sc.q.Interval == ByHour {
		g.visitors.up += visitors
	}
}

func (g *group) today() *groupDay {
	if g.day == nil {
		g.day = &groupDay{singles: make(map[string]*[2]int64)}
	}
	return g.day
}
