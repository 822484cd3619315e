package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

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
	rows, recount, err := c.readRun(item, !rollup && ref.level == closedLevel)
	if err != nil {
		if !rollup {
			c.add(c.dropRun(ref), fmt.Sprintf("drop the run: its day loses %s", rowCount(rows)), "%s: %v", c.named(ref), err)
			return nil
		}
		return nil // found again with the run that it belongs to
	}
	switch {
	case rollup:
		if _, err := c.txn.Get(ref.rolledRun().headerKey()); errors.Is(err, badger.ErrKeyNotFound) {
			c.add(c.dropRun(ref), "drop it", "%s: it belongs to no run", c.named(ref))
		}
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
	r.table -= 2
	return r
}

// recount is what a rollup should hold.
type recount struct {
	*roller
	negative int  // tuples with a sum below zero
	hourless bool // rows have lost their hour: what was counted by hour cannot be told from them any more
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
			re.hourless = re.hourless || dims[Hour] == ""
			re.add(&dims, &sums)
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

// checkRollup compares a rollup with what its run adds up to. A run has none if it has too many values, or if it adds up
// to nothing.
func (c *check) checkRollup(ref runRef, re *recount) error {
	item, err := c.txn.Get(ref.rollup().headerKey())
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	mend := c.remakeRollup(ref)
	repair := "make it anew from its run"
	if re.hourless {
		repair += "; hours only as far as they can be read"
	}
	had, err := c.rollupRows(item)
	switch {
	case err != nil:
		c.add(mend, repair, "%s: %v", c.named(ref.rollup()), err)
	case re.sums != nil:
		if text := re.differs(had); text != "" {
			c.add(mend, repair, "%s: %s", c.named(ref.rollup()), text)
		}
	}
	return nil
}

// rollupRows reads a rollup.
func (c *check) rollupRows(item *badger.Item) (map[rolledKey][maxMeasures]int64, error) {
	if _, _, err := c.readRun(item, false); err != nil {
		return nil, err
	}
	r, err := openRun(c.db.codec, c.txn, item)
	if err != nil {
		return nil, err
	}
	rows := make(map[rolledKey][maxMeasures]int64)
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
			rows[rolledKey{dims[RollupOf], dims[Kind], dims[RollupValue]}] = sums
		}
	}
	return rows, nil
}

// differs says in what a rollup is not what it should be.
func (re *recount) differs(had map[rolledKey][maxMeasures]int64) string {
	var wrong []rolledKey
	for key, want := range re.sums {
		if !(re.hourless && key.of == rollupHour) && had[key] != *want {
			wrong = append(wrong, key)
		}
	}
	for key := range had {
		if re.sums[key] == nil && !(re.hourless && key.of == rollupHour) {
			wrong = append(wrong, key)
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	least := slices.MinFunc(wrong, func(a, b rolledKey) int {
		return cmp.Or(cmp.Compare(a.of, b.of), cmp.Compare(a.kind, b.kind), cmp.Compare(a.value, b.value))
	})
	of := least.of
	if of == rollupTotal {
		of = "total"
	}
	return fmt.Sprintf("%d sums are not those of its run, one of them by %s", len(wrong), of)
}
