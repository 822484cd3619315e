package storage

import "math"

const (
	// maxDirect bounds the combinations of a block's codes that are slots themselves: where rows are many, that saves a look.
	maxDirect = 1 << 10
	// maxDense bounds those that are looked up in an array; rarer ones go through a map.
	maxDense = 1 << 16
	noSlot   = math.MaxUint32
)

// view is one block as the jobs of a scan look at it. What they share, columns and selections of rows, is made once.
// Work goes column by column: a selection lists rows, slots give each row its group, and a sum is one loop.
type view struct {
	shelf
	run     *run
	n       int           // number of the block in the run
	rows    int           // of the block
	alone   bool          // the run is the only one of its day
	ids     []uint32      // 0, 1, 2, ...
	arena   arena[uint32] // of selections
	reaches arena[reach]
	origin  arena[origin]
	// selected are the rows that pass the filters of a job, by their text.
	selected map[string][]uint32
	props    map[string]axis   // values of properties, by key
	hits     map[string]chosen // of the table Hits: what is in selected, by kind
	comers   map[string]*comers
	paths    []uint32 // numbers of the paths by code, 0 for those that have none yet
	numbers  numbers  // of the day

	slots   []uint32  // by row: number of its group within the block
	keys    []slotKey // by slot
	dense   []uint32  // by combination of codes: slot, or noSlot
	sparse  map[slotKey]uint32
	sums    [fields][]int64 // by slot
	tallies []tally         // by slot; see addPages
}

// slotKey are the codes that make up a group within a block: those of the dimensions, the hour, and of what visitors are
// the first, which is one or two columns.
type slotKey [maxGroupBy + 3]uint16

// set makes a block the one to look at. What is loaded of it stays.
func (v *view) set(r *run, n int) {
	if v.run != r || v.n != n {
		v.reset(r, n)
	}
}

func (v *view) reset(r *run, n int) {
	v.run, v.n, v.rows = r, n, r.head.blockRows[n]
	v.shelf.reset()
	v.arena.reset()
	v.reaches.reset()
	v.origin.reset()
	if v.selected == nil {
		v.selected, v.props = make(map[string][]uint32), make(map[string]axis)
		v.hits, v.comers = make(map[string]chosen), make(map[string]*comers)
	}
	clear(v.selected)
	clear(v.props)
	clear(v.hits)
	clear(v.comers)
	v.paths = v.paths[:0]
	for i := len(v.ids); i < v.rows; i++ {
		v.ids = append(v.ids, uint32(i))
	}
}

// forget drops what would keep a transaction or the texts of a store alive.
func (v *view) forget() {
	v.run, v.numbers = nil, nil
	v.shelf.reset()
	clear(v.selected)
	clear(v.props)
	clear(v.hits)
	clear(v.comers)
	clear(v.sparse)
}

// all selects every row.
func (v *view) all() []uint32 { return v.ids[:v.rows] }

func (v *view) loadColumns(cols ...Column) error {
	for _, c := range cols {
		if err := v.shelf.load(v.run, v.n, c); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) loadMeasures(measures ...Measure) error {
	for _, m := range measures {
		if err := v.shelf.measure(v.run, v.n, m); err != nil {
			return err
		}
	}
	return nil
}

// add adds the rows of the block that pass a job's filters to its groups.
func (v *view) add(j *job, gs groups, touched map[*group]*job) error {
	sel, err := v.choose(j)
	if err != nil || len(sel) == 0 {
		return err
	}
	if v.table() == Visits {
		return v.addVisits(j, gs, sel)
	}
	return v.addHits(j, gs, sel, touched)
}

// table is the table whose sums the block holds, rolled reports whether they are a rollup.
func (v *view) table() Table { return v.run.ref.table.base() }
func (v *view) rolled() bool { return v.run.ref.table != v.table() }

// column is the column of the block that holds the values of c: a rollup has one for all.
func (v *view) column(c Column) Column {
	if v.rolled() {
		return RollupValue
	}
	return c
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

// visitFields are the fields that addVisits fills.
var visitFields = []field{exactVisitors, exactVisits, wholeVisits, wholeBounces, wholeSeconds, wholeViews, wholeEvents}

// addVisits adds rows of the table Visits.
func (v *view) addVisits(j *job, gs groups, sel []uint32) error {
	if j.plan.pageOnly {
		// A visit that has seen no page has no entry page: it is not one of any page.
		entry := v.column(Entry)
		if err := v.loadColumns(entry); err != nil {
			return err
		}
		sel = v.narrow(sel, entry, func(entry string) bool { return entry != "" })
	}
	axes, err := v.groupAxes(j)
	if err != nil {
		return err
	}
	v.slot(sel, axes)
	visitors := VisitVisitors
	if j.q.Interval == ByHour {
		visitors = VisitHourVisitors
	}
	p := j.plan
	byVisit := p.unit == unitVisit
	for _, x := range []struct {
		wanted  bool
		field   field
		measure Measure
	}{
		{byVisit && p.wants[Visitors], exactVisitors, visitors},
		{byVisit && p.wants[VisitsTotal], exactVisits, VisitCount},
		{p.wants[ViewsPerVisit] || p.wants[BounceRate] || p.wants[VisitDuration], wholeVisits, VisitCount},
		{p.wants[BounceRate], wholeBounces, Bounces},
		{p.wants[VisitDuration], wholeSeconds, Seconds},
		{p.wants[ViewsPerVisit] || p.singleWhole && (p.wants[PageViews] || p.wants[Events]), wholeViews, VisitPageViews},
		{p.singleWhole && p.wants[Events], wholeEvents, VisitEvents},
	} {
		if !x.wanted {
			continue
		}
		if err := v.loadMeasures(x.measure); err != nil {
			return err
		}
		v.sum(x.field, x.measure, sel)
	}
	v.flush(j, gs, axes, visitFields...)
	return nil
}
