package storage

import (
	"cmp"
	"maps"
	"slices"
	"strings"
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

// maxRolled bounds the memory of a roller, and what a rollup is worth: a day with more different values than this, as
// after a flood of made-up paths, has none, and is read as a whole.
const maxRolled = 1 << 18

// roller makes the rollup of a run whose rows it is shown.
type roller struct {
	s      *schema
	rolled []Column
	sums   map[rolledKey]*[maxMeasures]int64 // nil once there are too many
}

// rolledKey is a tuple of a rollup.
type rolledKey struct{ of, kind, value string }

func newRoller(t Table) *roller {
	r := &roller{visitRollupSchema, rolledVisits, make(map[rolledKey]*[maxMeasures]int64)}
	if t == Hits {
		r.s, r.rolled = hitRollupSchema, rolledHits
	}
	return r
}

func (r *roller) add(dims *[columns]string, sums *[maxMeasures]int64) {
	r.addTo(rolledKey{rollupTotal, dims[Kind], ""}, sums)
	for _, c := range r.rolled {
		r.addTo(rolledKey{rollupName(c), dims[Kind], dims[c]}, sums)
	}
}

func (r *roller) addTo(key rolledKey, sums *[maxMeasures]int64) {
	if r.sums == nil {
		return
	}
	row := r.sums[key]
	if row == nil {
		if len(r.sums) == maxRolled {
			r.sums = nil
			return
		}
		row = new([maxMeasures]int64)
		key.value = strings.Clone(key.value) // would keep the dictionary of a whole block
		r.sums[key] = row
	}
	for m := range r.s.measures {
		row[m] += sums[m]
	}
}

// write writes what was added to a run of its own, nil if there were too many values.
func (r *roller) write(db *DB, ref runRef) (*runWriter, header, error) {
	if r.sums == nil {
		return nil, header{}, nil
	}
	w, err := db.newRunWriter(ref)
	if err != nil {
		return nil, header{}, err
	}
	keys := slices.SortedFunc(maps.Keys(r.sums), func(a, b rolledKey) int {
		return cmp.Or(cmp.Compare(a.of, b.of), cmp.Compare(a.kind, b.kind), cmp.Compare(a.value, b.value))
	})
	var dims [columns]string
	for _, k := range keys {
		if *r.sums[k] == [maxMeasures]int64{} {
			continue
		}
		dims[RollupOf], dims[Kind], dims[RollupValue] = k.of, k.kind, k.value
		if err := w.add(&dims, r.sums[k]); err != nil {
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
	if len(cols) > 1 {
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
	if len(cols) == 0 {
		return rollupTotal, true
	}
	return rollupName(cols[0]), slices.Contains(rolled, cols[0])
}
