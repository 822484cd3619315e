package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// check is one look at all that a store holds, in one state of it.
type check struct {
	db       *DB
	report   *CheckReport
	progress func(done, total int)
	lost     []keySpan // keys that a repair of files has dropped
	keeper   *keeper

	txn     *badger.Txn
	sites   map[uint32]Site
	removed map[uint32]bool
	runs    map[runRef]bool // those with a header, without level: whether they have chunks
	refs    []runRef        // the same in order of keys, with level
	garbage map[runRef]bool
	mends   []func() error // one for each finding from first on, nil if there is none
	first   int            // number of the first finding that is not about files
}

// progressEvery is how many runs are looked at between two calls of progress.
const progressEvery = 100

// add notes a finding and what repairs it.
func (c *check) add(mend func() error, repair, format string, args ...any) {
	c.report.Findings = append(c.report.Findings, Finding{Text: fmt.Sprintf(format, args...), Repair: repair})
	c.mends = append(c.mends, mend)
}

func (c *check) run(ctx context.Context) error {
	c.sites, c.removed = make(map[uint32]Site), make(map[uint32]bool)
	c.runs, c.garbage = make(map[runRef]bool), make(map[runRef]bool)
	c.first = len(c.report.Findings)
	return c.db.view(func(txn *badger.Txn) error {
		c.txn = txn
		defer func() { c.txn = nil }()
		if err := c.keys(ctx); err != nil {
			return err
		}
		days := make(map[partition]bool)
		for i, ref := range c.refs {
			if err := ctx.Err(); err != nil {
				return err
			}
			if c.progress != nil && i%progressEvery == 0 {
				c.progress(i, len(c.refs))
			}
			if ref.table == ref.table.base() {
				days[partition{ref.site, 0, ref.day}] = true
			}
			if err := c.checkRun(ref); err != nil {
				return err
			}
		}
		c.report.Sites, c.report.Days, c.report.Runs = len(c.sites), len(days), len(c.refs)
		return nil
	})
}

// named is how findings speak of a run.
func (c *check) named(ref runRef) string {
	site := fmt.Sprintf("site %d", ref.site)
	if s, ok := c.sites[ref.site]; ok {
		site = s.Domain
	}
	name := fmt.Sprintf("table %d", ref.table)
	if s, err := schemaOf(ref.table); err == nil {
		name = s.name
	}
	return fmt.Sprintf("%s, %s, %s, run %016x", site, ref.day, name, ref.id)
}

// anyLevel is a run as chunks and garbage marks name it.
func (r runRef) anyLevel() runRef {
	r.level = 0
	return r
}

// checkRun reads a run, and compares it with its rollup if it has one.
func (c *check) checkRun(ref runRef) error {
	rollup := ref.table != ref.table.base()
	item, err := c.txn.Get(ref.headerKey())
	if err != nil {
		return err
	}
	if c.garbage[ref.anyLevel()] {
		c.add(c.deleting(ref.runKey(prefixGarbage)), "take the mark away", "%s: it counts, and is marked as garbage", c.named(ref))
	}
	rows, recount, err := c.readRun(item, !rollup && ref.level >= closedLevel)
	switch {
	case ref.table.monthly() && err != nil:
		c.add(c.dropRun(ref), "drop it: it is made anew from its days", "%s: %v", c.named(ref), err)
	case ref.table.monthly():
		return c.checkMonth(ref, item)
	case rollup && err != nil:
		if _, missing := c.txn.Get(ref.rolledRun().headerKey()); missing != nil { // else it is found with its run
			c.add(c.dropRun(ref), "drop it: its day loses all totals", "%s: %v", c.named(ref), err)
		}
	case rollup:
	case err != nil:
		would := "drop the run: its day loses " + rowCount(rows)
		if ref.level >= closedLevel {
			would += "; its totals by one dimension stay if they can be read"
		}
		c.add(c.dropRun(ref), would, "%s: %v", c.named(ref), err)
	case recount != nil:
		c.report.Rows += rows
		if recount.negative > 0 {
			c.add(nil, "nothing: they stay as they were counted", "%s: %d tuples have sums below zero", c.named(ref), recount.negative)
		}
		return c.checkRollup(ref, recount)
	default:
		c.report.Rows += rows
	}
	return nil
}

func rowCount(n int64) string {
	if n == 0 {
		return "an unknown number of rows"
	}
	return fmt.Sprintf("%d rows", n)
}

// rolledRun is the run whose rollup this one is.
func (r runRef) rolledRun() runRef {
	r.table = r.table.base()
	return r
}

// recount is what the rollup of a run should hold.
type recount struct {
	*roller
	negative int // tuples with a sum below zero
}

// readRun reads all of a run and checks its order. rows is what the header claims, also if there is an error.
func (c *check) readRun(item *badger.Item, closed bool) (rows int64, re *recount, err error) {
	r, err := openRun(c.db.codec, c.txn, item)
	if err != nil {
		return 0, nil, err
	}
	for _, n := range r.head.blockRows {
		rows += int64(n)
	}
	if closed {
		re = &recount{roller: newRoller(r.ref.table)}
	}
	var b block
	var last, dims [columns]string
	for n := range r.head.blockRows {
		if err := r.load(n, &b); err != nil {
			return rows, nil, err
		}
		if err := sortedDicts(r.s, &b); err != nil {
			return rows, nil, err
		}
		for i := range b.rows {
			b.tuple(r.s, i, &dims)
			if (n > 0 || i > 0) && compareTuples(r.s, &last, &dims) >= 0 {
				return rows, nil, corruptf("row %d of block %d is not greater than the one before", i, n)
			}
			last = dims
			if re == nil {
				continue
			}
			var sums [maxMeasures]int64
			for m := range r.s.measures {
				sums[m] = b.sums[m][i]
			}
			if negative(r.ref.table, &sums) {
				re.negative++
			}
			re.add(&dims, &sums)
			re.addHour(dims[Kind], dims[Hour], &sums)
		}
	}
	return rows, re, nil
}

// sortedDicts checks that no value is twice in a dictionary, and that all are in order.
func sortedDicts(s *schema, b *block) error {
	for _, col := range s.columns {
		for i := 1; i < len(b.dicts[col]); i++ {
			if b.dicts[col][i-1] >= b.dicts[col][i] {
				return corruptf("the dictionary of column %d is not sorted", col)
			}
		}
	}
	return nil
}

// negative reports whether a tuple of a day that is over has a sum below zero that cannot be: all but the revenue.
func negative(t Table, sums *[maxMeasures]int64) bool {
	for m, n := range sums {
		if n < 0 && !(t == Hits && Measure(m) == Revenue) {
			return true
		}
	}
	return false
}

// checkRollup compares a rollup with what its run adds up to. A run has none if it adds up to nothing. The totals of the
// hours of a coarse run are nowhere else, and cannot be compared.
func (c *check) checkRollup(ref runRef, re *recount) error {
	item, err := c.txn.Get(ref.rollup().headerKey())
	if errors.Is(err, badger.ErrKeyNotFound) {
		if len(re.totals) > 0 {
			c.add(c.remakeRollup(ref), "make it anew from its run", "%s: it is missing", c.named(ref.rollup()))
		}
		return nil
	}
	if err != nil {
		return err
	}
	would := "make it anew from its run"
	had, err := c.rollupRows(item)
	if err != nil {
		if ref.level == coarseLevel {
			would += "; the totals of its hours are lost"
		}
		c.add(c.remakeRollup(ref), would, "%s: %v", c.named(ref.rollup()), err)
	} else if text := re.differs(ref, had); text != "" {
		c.add(c.remakeRollup(ref), would, "%s: %s", c.named(ref.rollup()), text)
	}
	return nil
}

// rollupRow is a tuple of a rollup.
type rollupRow struct {
	of string
	rolledKey
}

// rollupRows reads a rollup.
func (c *check) rollupRows(item *badger.Item) (map[rollupRow][maxMeasures]int64, error) {
	if _, _, err := c.readRun(item, false); err != nil {
		return nil, err
	}
	r, err := openRun(c.db.codec, c.txn, item)
	if err != nil {
		return nil, err
	}
	rows := make(map[rollupRow][maxMeasures]int64)
	var b block
	var dims [columns]string
	for n := range r.head.blockRows {
		if err := r.load(n, &b); err != nil {
			return nil, err
		}
		for i := range b.rows {
			dims = [columns]string{}
			b.tuple(r.s, i, &dims)
			var sums [maxMeasures]int64
			for m := range r.s.measures {
				sums[m] = b.sums[m][i]
			}
			rows[rollupRow{dims[RollupOf], rolledKey{dims[Kind], dims[RollupValue]}}] = sums
		}
	}
	return rows, nil
}

// parts are the sums of a roller by the name of their column, without those that it omits.
func (re *recount) parts() map[string]rolled {
	parts := map[string]rolled{rollupTotal: re.totals, rollupHour: re.hours}
	for _, c := range re.columns {
		if c.sums != nil {
			parts[rollupName(c.column)] = c.sums
		}
	}
	return parts
}

// differs says in what a rollup is not what it should be.
func (re *recount) differs(ref runRef, had map[rollupRow][maxMeasures]int64) string {
	parts := re.parts()
	if ref.level == coarseLevel {
		delete(parts, rollupHour)
	}
	for row := range had {
		if row.of == rollupOmitted {
			delete(parts, row.value)
		}
	}
	wrong := make(map[string]int)
	for of, sums := range parts {
		for key, want := range sums {
			if had[rollupRow{of, key}] != *want {
				wrong[of]++
			}
		}
	}
	for row := range had {
		if sums, ok := parts[row.of]; ok && sums[row.rolledKey] == nil {
			wrong[row.of]++
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	var names []string
	for of, n := range wrong {
		names = append(names, fmt.Sprintf("%d by %s", n, cmp.Or(of, "nothing")))
	}
	slices.Sort(names)
	return "sums that are not those of its run: " + strings.Join(names, ", ")
}

// checkMonth compares the run of a month with the rollups that it is made from, if these are all still there.
func (c *check) checkMonth(ref runRef, item *badger.Item) error {
	table := ref.table.base().rollups()
	var rollups []runRef
	for _, r := range c.refs {
		if r.site == ref.site && r.table == table && r.day.month() == ref.day {
			rollups = append(rollups, r)
		}
	}
	sortRefs(rollups)
	if monthID(rollups) != ref.id {
		return nil // void, and soon made anew
	}
	had, err := c.rollupRows(item)
	if err != nil {
		return err // it has just been read
	}
	sums := make(map[rollupRow][maxMeasures]int64)
	for _, r := range rollups {
		day, err := c.txn.Get(r.headerKey())
		if err != nil {
			return err
		}
		rows, err := c.rollupRows(day)
		if err != nil {
			return nil // found with the day
		}
		for row, n := range rows {
			sum := sums[row]
			for m := range sum {
				sum[m] += n[m]
			}
			if sums[row] = sum; sum == [maxMeasures]int64{} {
				delete(sums, row)
			}
		}
	}
	if !maps.Equal(sums, had) {
		c.add(c.dropRun(ref), "drop it: it is made anew from its days", "%s: sums that are not those of its days", c.named(ref))
	}
	return nil
}
