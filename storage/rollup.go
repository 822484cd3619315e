package storage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// When a day is over, its runs become one, and beside it a rollup is written: the same sums by one dimension at a
// time, without filters. Reports over long ranges read those. A rollup belongs to one run, whose number it bears, and
// says nothing of other runs of the day, such as those of an import that opens the day again.
//
// Two things are in rollups only. Once a day is coarse, its tuples have no hours: the totals of each hour are taken along
// from rollup to rollup. And once a site's details have reached their age, the run is deleted and its rollup stays.

// rollups of the two tables. They are no tables to append to.
const (
	hitRollups   Table = Hits + 2
	visitRollups Table = Visits + 2
)

// Values of the column RollupOf.
const (
	rollupTotal = ""
	// rollupOmitted has a row for each column that the rollup does not hold, by the name that RollupOf would have. It sorts
	// before those names, so that it is in the first block.
	rollupOmitted = "!omitted"
	rollupHour    = "hour"
)

var (
	hitRollupSchema   = &schema{hitRollups, "hit rollups", []Column{RollupOf, Kind, RollupValue}, int(hitMeasures)}
	visitRollupSchema = &schema{visitRollups, "visit rollups", []Column{RollupOf, RollupValue}, int(visitMeasures)}
	hitMonthSchema    = &schema{Hits + 4, "hit months", hitRollupSchema.columns, int(hitMeasures)}
	visitMonthSchema  = &schema{Visits + 4, "visit months", visitRollupSchema.columns, int(visitMeasures)}

	// rolled are the columns of each table that rollups are made of, besides the total and the hour. For hits only those matter of
	// which visitors are the first: the others are answered by visits.
	rolledHits   = []Column{Path, Hostname, Name}
	rolledVisits = append([]Column{Entry, Exit}, attributeColumns...)
)

// base is the table whose sums a table holds.
func (t Table) base() Table {
	return (t-1)%2 + 1
}

// rollups is the table of the rollups of a table.
func (t Table) rollups() Table { return t + 2 }

// rollupName is the value of RollupOf for a column.
func rollupName(c Column) string {
	if c == Hour {
		return rollupHour
	}
	return columnNames[c]
}

// rollup is the run that holds the rollup of a closed run.
func (r runRef) rollup() runRef {
	r.table = r.table.rollups()
	return r
}

// maxRolled bounds the memory of a roller to some 50 MB, and what a rollup is worth: where a day has more different values
// than this, as after a flood of made-up paths, the column that has most is omitted, and questions about it read the run.
const maxRolled = 1 << 18

// roller makes the rollup of a run whose rows it is shown.
type roller struct {
	s       *schema
	totals  rolled
	hours   rolled
	columns []rolledColumn
	values  int // of all columns
}

// rolled are the sums by one column.
type rolled map[rolledKey]*[maxMeasures]int64

// rolledKey is a tuple of a rollup, but for the column.
type rolledKey struct{ kind, value string }

type rolledColumn struct {
	column Column
	sums   rolled // nil once there are too many
}

func newRoller(t Table) *roller {
	r := &roller{s: visitRollupSchema, totals: make(rolled), hours: make(rolled)}
	cols := rolledVisits
	if t == Hits {
		r.s, cols = hitRollupSchema, rolledHits
	}
	for _, c := range cols {
		r.columns = append(r.columns, rolledColumn{c, make(rolled)})
	}
	return r
}

// add adds a row of the run.
func (r *roller) add(dims *[columns]string, sums *[maxMeasures]int64) {
	r.totals.add(rolledKey{dims[Kind], ""}, sums)
	for i := range r.columns {
		c := &r.columns[i]
		if c.sums == nil {
			continue
		}
		before := len(c.sums)
		key := rolledKey{dims[Kind], dims[c.column]}
		if c.column == Name && dims[Kind] == KindPageView && dims[Previous] != "" {
			c.sums.add(key, withoutFirsts(sums))
		} else {
			c.sums.add(key, sums)
		}
		r.values += len(c.sums) - before
	}
	if r.values > maxRolled {
		r.omit()
	}
}

// withoutFirsts leaves out whose first page this is. Page views share a name: whoever has one is counted at the first page
// of all, where there is no page before it.
func withoutFirsts(sums *[maxMeasures]int64) *[maxMeasures]int64 {
	rest := *sums
	rest[HitVisits], rest[HitVisitors], rest[HourVisitors] = 0, 0, 0
	return &rest
}

// omit drops the column with the most values.
func (r *roller) omit() {
	most := slices.MaxFunc(r.columns, func(a, b rolledColumn) int { return cmp.Compare(len(a.sums), len(b.sums)) })
	for i := range r.columns {
		if c := &r.columns[i]; c.column == most.column {
			r.values -= len(c.sums)
			c.sums = nil
		}
	}
}

// addHour adds a row to its hour only. A row that has lost its hour adds nothing: takeHours does.
func (r *roller) addHour(kind, hour string, sums *[maxMeasures]int64) {
	if hour != "" {
		r.hours.add(rolledKey{kind, hour}, sums)
	}
}

func (to rolled) add(key rolledKey, sums *[maxMeasures]int64) {
	row := to[key]
	if row == nil {
		row = new([maxMeasures]int64)
		key.value = strings.Clone(key.value) // would keep the dictionary of a whole block
		to[key] = row
	}
	for m := range sums {
		row[m] += sums[m]
	}
}

// takeHours adds the hours of the rollup of a coarse run that is merged.
func (r *roller) takeHours(c *codec, txn *badger.Txn, ref runRef) error {
	item, err := txn.Get(ref.headerKey())
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil // all its sums were zero
	}
	if err != nil {
		return fmt.Errorf("read rollup: %w", err)
	}
	old, err := openRun(c, txn, item)
	if err != nil {
		return err
	}
	cur := &cursor{run: old, row: -1}
	for err = cur.next(); err == nil && !cur.done; err = cur.next() {
		if cur.dims[RollupOf] != rollupHour {
			continue
		}
		var sums [maxMeasures]int64
		for m := range r.s.measures {
			sums[m] = cur.block.sums[m][cur.row]
		}
		r.hours.add(rolledKey{cur.dims[Kind], cur.dims[RollupValue]}, &sums)
	}
	return err
}

// clearHourly clears what means nothing in tuples without an hour.
func clearHourly(t Table, sums *[maxMeasures]int64) {
	if t == Hits {
		sums[HourVisitors] = 0
	} else {
		sums[VisitHourVisitors] = 0
	}
}

// write writes what was added to a run of its own.
func (r *roller) write(db *DB, ref runRef) (*runWriter, header, error) {
	w, err := db.newRunWriter(ref)
	if err != nil {
		return nil, header{}, err
	}
	if err := r.writeRows(w); err != nil {
		return w, header{}, err
	}
	head, err := w.finish()
	return w, head, err
}

// writeRows writes the rows in the order of the rollup's columns.
func (r *roller) writeRows(w *runWriter) error {
	parts := map[string]rolled{rollupTotal: r.totals, rollupHour: r.hours}
	omitted := make(rolled)
	for _, c := range r.columns {
		if c.sums == nil {
			omitted[rolledKey{value: rollupName(c.column)}] = &[maxMeasures]int64{1} // a row of zeros is none
			continue
		}
		parts[rollupName(c.column)] = c.sums
	}
	if len(omitted) > 0 {
		parts[rollupOmitted] = omitted
	}
	var dims [columns]string
	for _, of := range slices.Sorted(maps.Keys(parts)) {
		keys := slices.SortedFunc(maps.Keys(parts[of]), func(a, b rolledKey) int {
			return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.value, b.value))
		})
		for _, k := range keys {
			sums := parts[of][k]
			if *sums == [maxMeasures]int64{} {
				continue
			}
			dims[RollupOf], dims[Kind], dims[RollupValue] = of, k.kind, k.value
			if err := w.add(&dims, sums); err != nil {
				return err
			}
		}
	}
	return nil
}

// omitted lists the columns that the run, a rollup, does not hold: nearly always none. It leaves its first block in the view.
func (v *view) omitted(rollup *run) (map[string]bool, error) {
	v.reset(rollup, 0)
	if err := v.loadColumns(RollupOf); err != nil {
		return nil, err
	}
	rows := v.rowsOfRollup(rollupOmitted)
	if len(rows) == 0 {
		return nil, nil
	}
	if err := v.loadColumns(RollupValue); err != nil {
		return nil, err
	}
	omitted, value := make(map[string]bool), &v.axes[RollupValue]
	for _, row := range rows {
		omitted[value.dict[value.code(row)]] = true
	}
	return omitted, nil
}

// rolledBy returns the column whose rollup answers a job from a table. ok is false if none does: with filters over
// other columns, two dimensions, or a dimension that is not rolled up.
func (j *job) rolledBy(t Table) (of string, ok bool) {
	cols := j.groupColumns(t)
	if len(cols) > 1 {
		return "", false
	}
	for _, f := range j.plan.conditions {
		if len(cols) == 0 || !f.onlyUses(func(c Column) bool { return j.plan.column(t, c) == cols[0] }) {
			return "", false
		}
	}
	if len(cols) == 0 {
		return rollupTotal, true
	}
	rolled := rolledVisits
	if t == Hits {
		rolled = rolledHits
	}
	if cols[0] == Name && j.plan.wants[TimeOnPage] {
		return "", false // it is per visit and page, of which the rollup by name keeps the first page only
	}
	return rollupName(cols[0]), cols[0] == Hour || slices.Contains(rolled, cols[0])
}
