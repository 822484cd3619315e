package storage

import (
	"fmt"
	"math"
	"strings"
)

const (
	// maxDense bounds the combinations of a block's codes that are looked up in an array; rarer ones go through a map.
	maxDense = 1 << 16
	noSlot   = math.MaxUint32
)

// view is one block as the jobs of a scan look at it. What they share, columns and selections of rows, is made once.
// Work goes column by column: a selection lists rows, slots give each row its group, and a sum is one loop.
type view struct {
	*block
	run *run
	n   int      // number of the block in the run
	ids []uint32 // 0, 1, 2, ...
	// selected are the rows that pass the filters of a job, by their text.
	selected map[string][]uint32

	slots  []uint32  // by row: number of its group within the block
	keys   []slotKey // by slot
	dense  []uint32  // by combination of codes: slot, or noSlot
	sparse map[uint64]uint32
	sums   [fields][]int64 // by slot
}

// slotKey are the codes that make up a group within a block.
type slotKey [maxGroupBy + 2]uint16

func (v *view) reset(r *run, n int) {
	v.run, v.n = r, n
	if v.selected == nil {
		v.selected = make(map[string][]uint32)
	}
	clear(v.selected)
	for i := len(v.ids); i < v.rows; i++ {
		v.ids = append(v.ids, uint32(i))
	}
}

// all selects every row.
func (v *view) all() []uint32 { return v.ids[:v.rows] }

func (v *view) loadColumns(cols ...Column) error {
	for _, c := range cols {
		if err := v.run.loadColumn(v.n, v.block, c); err != nil {
			return err
		}
	}
	return nil
}

func (v *view) loadMeasures(measures ...Measure) error {
	for _, m := range measures {
		if err := v.run.loadMeasure(v.n, v.block, m); err != nil {
			return err
		}
	}
	return nil
}

// add adds the rows of the block that pass a job's filters to its groups.
func (v *view) add(j *job, gs groups, touched map[*group]bool) error {
	sel, err := v.filter(j)
	if err != nil || len(sel) == 0 {
		return err
	}
	if v.table() == Visits {
		return v.addVisits(j, gs, sel)
	}
	return v.addHits(j, gs, sel, touched)
}

// filter selects the rows that pass a job's filters.
func (v *view) filter(j *job) ([]uint32, error) {
	sel, key := v.all(), j.plan.filterText
	if v.rolled() {
		of, _ := j.rolledBy(v.table())
		if err := v.loadColumns(RollupOf); err != nil {
			return nil, err
		}
		sel = v.narrow(sel, RollupOf, func(value string) bool { return value == of })
		key = of + "\x00" + key
	}
	if len(j.q.Filters) == 0 {
		return sel, nil
	}
	if sel, ok := v.selected[key]; ok {
		return sel, nil
	}
	for i := range j.q.Filters {
		f := &j.q.Filters[i]
		c := v.column(j.plan.column(v.table(), f.Column))
		if err := v.loadColumns(c); err != nil {
			return nil, err
		}
		if sel = v.narrow(sel, c, f.passes); len(sel) == 0 {
			break // what the other filters need is not even read
		}
	}
	v.selected[key] = sel
	return sel, nil
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

// narrow keeps the rows whose value of a column passes.
func (v *view) narrow(sel []uint32, c Column, passes func(value string) bool) []uint32 {
	keep, kept := make([]bool, len(v.dicts[c])), 0
	for code, value := range v.dicts[c] {
		if passes(value) {
			keep[code] = true
			kept++
		}
	}
	switch kept {
	case 0:
		return nil
	case len(keep):
		return sel
	}
	codes := v.codes[c]
	narrowed := make([]uint32, 0, len(sel)*kept/len(keep)+16)
	for _, row := range sel {
		if keep[codes[row]] {
			narrowed = append(narrowed, row)
		}
	}
	return narrowed
}

// slot numbers the combinations of values of cols over the selected rows, and clears the sums.
func (v *view) slot(sel []uint32, cols []Column) error {
	if err := v.loadColumns(cols...); err != nil {
		return err
	}
	v.keys = v.keys[:0]
	if len(v.slots) < v.rows {
		v.slots = make([]uint32, blockRows)
	}
	combinations := 1
	for _, c := range cols {
		if combinations *= len(v.dicts[c]); combinations > maxDense {
			break // the product of one more could overflow
		}
	}
	if combinations <= maxDense {
		v.slotDense(sel, cols, combinations)
	} else {
		v.slotSparse(sel, cols)
	}
	for f := range v.sums {
		if cap(v.sums[f]) < len(v.keys) {
			v.sums[f] = make([]int64, len(v.keys))
		}
		v.sums[f] = v.sums[f][:len(v.keys)]
		clear(v.sums[f])
	}
	return nil
}

func (v *view) slotDense(sel []uint32, cols []Column, combinations int) {
	if cap(v.dense) < combinations {
		v.dense = make([]uint32, combinations)
	}
	dense := v.dense[:combinations]
	for i := range dense {
		dense[i] = noSlot
	}
	for _, row := range sel {
		at := 0
		for _, c := range cols {
			at = at*len(v.dicts[c]) + int(v.codes[c][row])
		}
		if dense[at] == noSlot {
			dense[at] = v.newSlot(row, cols)
		}
		v.slots[row] = dense[at]
	}
}

func (v *view) slotSparse(sel []uint32, cols []Column) {
	if v.sparse == nil {
		v.sparse = make(map[uint64]uint32)
	}
	clear(v.sparse)
	for _, row := range sel {
		var at uint64
		for _, c := range cols {
			at = at<<16 | uint64(v.codes[c][row])
		}
		s, ok := v.sparse[at]
		if !ok {
			s = v.newSlot(row, cols)
			v.sparse[at] = s
		}
		v.slots[row] = s
	}
}

func (v *view) newSlot(row uint32, cols []Column) uint32 {
	var key slotKey
	for i, c := range cols {
		key[i] = v.codes[c][row]
	}
	v.keys = append(v.keys, key)
	return uint32(len(v.keys) - 1)
}

// sum adds a measure of the selected rows to a field of their groups.
func (v *view) sum(f field, m Measure, sel []uint32) {
	dst, src, slots := v.sums[f], v.block.sums[m], v.slots
	if len(dst) == 1 {
		var total int64
		for _, row := range sel {
			total += src[row]
		}
		dst[0] += total
		return
	}
	for _, row := range sel {
		dst[slots[row]] += src[row]
	}
}

// groupColumns are the columns whose combinations are the groups of a job: those that it groups by, and the hour.
func (j *job) groupColumns(t Table) []Column {
	cols := make([]Column, 0, maxGroupBy+1)
	for _, c := range j.q.GroupBy {
		cols = append(cols, j.plan.column(t, c))
	}
	if j.q.Interval == ByHour {
		cols = append(cols, Hour)
	}
	return cols
}

// groupColumns are those of a job within the block.
func (v *view) groupColumns(j *job) []Column {
	cols := j.groupColumns(v.table())
	for i, c := range cols {
		cols[i] = v.column(c)
	}
	return cols
}

// key is the group of a slot. cols begin with the group columns of the job.
func (v *view) key(j *job, slot int, cols []Column) groupKey {
	key := groupKey{day: bucketDay(j.q, v.run.ref.day)}
	codes := &v.keys[slot]
	for i := range j.q.GroupBy {
		key.keys[i] = v.dicts[cols[i]][codes[i]]
	}
	if i := len(j.q.GroupBy); j.q.Interval == ByHour {
		key.hour = parseHour(v.dicts[cols[i]][codes[i]])
	}
	return key
}

// flush adds the sums of all slots to the groups of a job.
func (v *view) flush(j *job, gs groups, cols []Column, used ...field) {
	for slot := range v.keys {
		var g *group
		for _, f := range used {
			n := v.sums[f][slot]
			if n == 0 {
				continue
			}
			if g == nil {
				g = gs.get(v.key(j, slot, cols))
			}
			g.sums[f] += n
		}
	}
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

// filterText writes filters so that equal texts mean the same.
func filterText(filters []Filter) string {
	var b strings.Builder
	for _, f := range filters {
		fmt.Fprintf(&b, "%d %d %q\n", f.Column, f.Op, f.Values)
	}
	return b.String()
}

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
	cols := v.groupColumns(j)
	if err := v.slot(sel, cols); err != nil {
		return err
	}
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
	v.flush(j, gs, cols, visitFields...)
	return nil
}
