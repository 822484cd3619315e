package storage

import (
	"encoding/binary"
	"slices"
)

// When a day is over, its runs become one, and beside it a rollup is written: the same sums by one dimension at a
// time, without filters. Reports over long ranges read those. A rollup belongs to one run, whose number it bears, and
// is used only while that run is all there is of the day: an import that opens the day again makes it void at once.

// rollups of the two tables. They are no tables to append to.
const (
	hitRollups   Table = Hits + 2
	visitRollups Table = Visits + 2
)

// Values of the column RollupOf.
const (
	rollupTotal = ""
	rollupHour  = "hour"
)

var (
	hitRollupSchema   = &schema{hitRollups, "hit rollups", []Column{RollupOf, Kind, RollupValue}, int(hitMeasures)}
	visitRollupSchema = &schema{visitRollups, "visit rollups", []Column{RollupOf, RollupValue}, int(visitMeasures)}

	// rolled are the columns of each table that rollups are made of, besides the total. For hits only those matter of
	// which visitors are the first: the others are answered by visits.
	rolledHits   = []Column{Hour, Path, Hostname}
	rolledVisits = append([]Column{Hour, Entry, Exit}, attributeColumns...)
)

// base is the table whose sums a table holds.
func (t Table) base() Table {
	if t > Visits {
		return t - 2
	}
	return t
}

// rollupName is the value of RollupOf for a column.
func rollupName(c Column) string {
	if c == Hour {
		return rollupHour
	}
	return columnNames[c]
}

// rollup is the run that holds the rollup of a closed run.
func (r runRef) rollup() runRef {
	r.table += 2
	return r
}

// roller makes the rollup of a run whose rows it is shown in order.
type roller struct {
	s      *schema
	rolled []Column
	rows   map[string]*Row
	key    []byte
}

func newRoller(t Table) *roller {
	if t == Hits {
		return &roller{hitRollupSchema, rolledHits, make(map[string]*Row), nil}
	}
	return &roller{visitRollupSchema, rolledVisits, make(map[string]*Row), nil}
}

func (r *roller) add(dims *[columns]string, sums *[maxMeasures]int64) {
	r.addTo(rollupTotal, dims[Kind], "", sums)
	for _, c := range r.rolled {
		r.addTo(rollupName(c), dims[Kind], dims[c], sums)
	}
}

func (r *roller) addTo(of, kind, value string, sums *[maxMeasures]int64) {
	r.key = binary.AppendUvarint(r.key[:0], uint64(len(of)))
	r.key = append(r.key, of...)
	r.key = binary.AppendUvarint(r.key, uint64(len(kind)))
	r.key = append(append(r.key, kind...), value...)
	row := r.rows[string(r.key)]
	if row == nil {
		row = &Row{}
		row.Dims[RollupOf], row.Dims[Kind], row.Dims[RollupValue] = of, kind, value
		r.rows[string(r.key)] = row
	}
	for m := range r.s.measures {
		row.Sums[m] += sums[m]
	}
}

// write writes what was added to a run of its own.
func (r *roller) write(db *DB, ref runRef) (*runWriter, header, error) {
	rows := make([]*Row, 0, len(r.rows))
	for _, row := range r.rows {
		if row.Sums != [maxMeasures]int64{} {
			rows = append(rows, row)
		}
	}
	sortRows(r.s, rows)
	w, err := db.newRunWriter(ref)
	if err != nil {
		return nil, header{}, err
	}
	for _, row := range rows {
		if err := w.add(&row.Dims, &row.Sums); err != nil {
			return w, header{}, err
		}
	}
	head, err := w.finish(true)
	return w, head, err
}

// rolledBy returns the column whose rollup answers a job from a table. ok is false if none does: with filters over
// other columns, two dimensions, or a dimension that is not rolled up.
func (j *job) rolledBy(t Table) (of string, ok bool) {
	cols := j.groupColumns(t)
	if len(cols) > 1 || t == Hits && j.plan.set {
		return "", false
	}
	for _, f := range j.q.Filters {
		if len(cols) == 0 || j.plan.column(t, f.Column) != cols[0] {
			return "", false
		}
	}
	rolled := rolledVisits
	if t == Hits {
		rolled = rolledHits
	}
	switch {
	case len(cols) == 0 && t == Visits && j.plan.pageOnly:
		return "", false // the page is filtered by
	case len(cols) == 0:
		return rollupTotal, true
	}
	return rollupName(cols[0]), slices.Contains(rolled, cols[0])
}
