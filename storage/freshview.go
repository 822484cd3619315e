package storage

import (
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// frozen is a segment as it was at one moment: the number of rows that it had and their sums. What rows and numbers mean
// never changes, so they are shared with the segment. Rows are in no order.
type frozen struct {
	s       *schema
	codes   []uint32
	amounts []int64
	bundles []bundleValues
	columns [columns][]string
}

// freeze returns a segment as it is. mu is held.
func (seg *segment) freeze() *frozen {
	m := seg.sums
	s := &frozen{s: m.s, codes: m.codes, amounts: m.amounts, bundles: slices.Clone(m.bundles)}
	if !seg.sealed {
		s.amounts = slices.Clone(m.amounts)
	}
	for i := range s.bundles {
		s.bundles[i].index = nil // goes on changing
	}
	for _, c := range m.s.columns {
		s.columns[c] = m.columns[c].values
	}
	return s
}

// run is a frozen segment as a run.
func (s *frozen) run(p partition) *run {
	r := &run{s: s.s, ref: runRef{site: p.site, table: p.table, day: p.day}, memory: s}
	for left := len(s.amounts) / s.s.measures; left > 0; left -= blockRows {
		r.head.blockRows = append(r.head.blockRows, min(left, blockRows))
	}
	return r
}

// axis reads a column of a block. The dictionary is in no order.
func (s *frozen) axis(n, rows int, c Column, codes []uint16) axis {
	width := len(s.bundles)
	i := slices.IndexFunc(s.bundles, func(u bundleValues) bool { return slices.Contains(s.s.columns[u.from:u.to], c) })
	u := &s.bundles[i]
	own, at := u.to-u.from, slices.Index(s.s.columns[u.from:u.to], c)
	codes = slices.Grow(codes[:0], rows)[:rows]
	first := n * blockRows
	for row := range codes {
		code := s.codes[(first+row)*width+i]
		if own > 1 {
			code = u.codes[int(code)*own+at]
		}
		codes[row] = uint16(code)
	}
	return axis{dict: s.columns[c], codes: codes}
}

// measure reads a measure of a block.
func (s *frozen) measure(n, rows int, m Measure, wide []int64) amounts {
	wide = slices.Grow(wide[:0], rows)[:rows]
	first := n * blockRows
	for row := range wide {
		wide[row] = s.amounts[(first+row)*s.s.measures+int(m)]
	}
	return amounts{loaded: true, wide: wide}
}

// freeze returns what is held of a site on some days, as runs. mu is held.
func (f *fresh) freeze(site uint32, from, to Day) (runs []*run) {
	for p, segments := range f.parts {
		if p.site != site || p.day < from || p.day > to {
			continue
		}
		for _, s := range segments {
			if s.sums.rows() > 0 {
				runs = append(runs, s.freeze().run(p))
			}
		}
	}
	return runs
}

// viewAll is view with what small runs hold of a site on some days: at the moment of txn, in which they are.
func (db *DB) viewAll(site uint32, from, to Day, fn func(txn *badger.Txn, fresh []*run) error) error {
	db.fresh.mu.RLock() // they must not be replaced by a run that txn does not see
	begun := false
	defer func() {
		if !begun {
			db.fresh.mu.RUnlock()
		}
	}()
	return db.view(func(txn *badger.Txn) error {
		runs := db.fresh.freeze(site, from, to)
		begun = true
		db.fresh.mu.RUnlock()
		return fn(txn, runs)
	})
}
