package storage

import (
	"bytes"
	"slices"
	"sort"
)

// This file selects the rows of a block that pass the filters of a query. A selection lists rows in rising order, and
// is never changed once it is made, so that jobs can share it.

// axis reads a dimension of the block. The values of a property are read from the tuples of properties, once for
// each of them; they are in no order.
func (v *view) axis(c Column, prop string) (axis, error) {
	if err := v.loadColumns(c); err != nil {
		return axis{}, err
	}
	if c != Props {
		return v.axes[c], nil
	}
	if a, ok := v.props[prop]; ok {
		return a, nil
	}
	all := v.axes[Props]
	a := axis{codes: make([]uint16, v.rows)}
	known, codeOf := make(map[string]uint16), make([]uint16, len(all.dict))
	for i, encoded := range all.dict {
		value := propValue(encoded, prop)
		code, ok := known[value]
		if !ok {
			code = uint16(len(a.dict))
			known[value] = code
			a.dict = append(a.dict, value)
		}
		codeOf[i] = code
	}
	for row := range a.codes {
		a.codes[row] = codeOf[all.code(uint32(row))]
	}
	v.props[prop] = a
	return a, nil
}

// narrow keeps the rows whose value of a column, which is loaded, passes.
func (v *view) narrow(sel []uint32, c Column, passes func(value string) bool) []uint32 {
	return v.narrowBy(sel, &v.axes[c], passes)
}

// narrowBy keeps the rows of a selection whose value passes.
func (v *view) narrowBy(sel []uint32, a *axis, passes func(value string) bool) []uint32 {
	keep, kept, last := make([]bool, max(len(a.dict), 1<<8)), 0, 0
	for code, value := range a.dict {
		if passes(value) {
			keep[code] = true
			kept, last = kept+1, code
		}
	}
	switch {
	case kept == 0:
		return nil
	case kept == len(a.dict):
		return sel
	case a.low != nil && kept == 1 && len(sel) == v.rows:
		return v.rowsOf(a.low, byte(last))
	}
	narrowed := v.arena.open(len(sel))
	if a.low != nil {
		for _, row := range sel {
			if keep[a.low[row]] {
				narrowed = append(narrowed, row)
			}
		}
	} else {
		for _, row := range sel {
			if keep[a.codes[row]] {
				narrowed = append(narrowed, row)
			}
		}
	}
	return v.arena.keep(narrowed)
}

// rowsOf selects the rows of one code.
func (v *view) rowsOf(low []byte, code byte) []uint32 {
	found := v.arena.open(len(low))
	for at := 0; ; at++ {
		next := bytes.IndexByte(low[at:], code)
		if next < 0 {
			return v.arena.keep(found)
		}
		at += next
		found = append(found, uint32(at))
	}
}

// rollup says which rows of a block are a job's before any filter: those of one column if the block is of a rollup.
func (j *job) rollup(v *view) string {
	if !v.rolled() {
		return ""
	}
	of, _ := j.rolledBy(v.table())
	return of + "\x00"
}

// filters says which rows of a block are a job's: those of equal texts are the same.
func (j *job) filters(v *view) string {
	if n := len(j.plan.texts); n > 0 {
		return j.rollup(v) + j.plan.texts[n-1]
	}
	return j.rollup(v)
}

// choose selects the rows that pass a job's filters. Jobs whose filters begin alike share what they have in common.
func (v *view) choose(j *job) ([]uint32, error) {
	sel, prefix := v.all(), j.rollup(v)
	if v.rolled() {
		of, _ := j.rolledBy(v.table())
		if err := v.loadColumns(RollupOf); err != nil {
			return nil, err
		}
		sel = v.rowsOfRollup(of)
	}
	for i, c := range j.plan.conditions {
		key := prefix + j.plan.texts[i]
		chosen, ok := v.selected[key]
		if !ok {
			var err error
			if chosen, err = v.keep(sel, c, func(c Column) Column { return v.column(j.plan.column(v.table(), c)) }); err != nil {
				return nil, err
			}
			v.selected[key] = chosen
		}
		if sel = chosen; len(sel) == 0 {
			break // what the other filters need is not even read
		}
	}
	return sel, nil
}

// rowsOfRollup selects the rows of a rollup that are sums by one column. Rows are sorted by what they are sums by.
func (v *view) rowsOfRollup(of string) []uint32 {
	a := &v.axes[RollupOf]
	code, ok := slices.BinarySearch(a.dict, of)
	if !ok {
		return nil
	}
	from := sort.Search(v.rows, func(row int) bool { return int(a.code(uint32(row))) >= code })
	to := sort.Search(v.rows, func(row int) bool { return int(a.code(uint32(row))) > code })
	return v.ids[from:to]
}

// keep keeps the rows that pass a condition, which is asked of the columns that stand for its own.
func (v *view) keep(sel []uint32, c *condition, standIn func(Column) Column) ([]uint32, error) {
	if c.of == nil {
		a, err := v.axis(standIn(c.column), c.prop)
		if err != nil {
			return nil, err
		}
		return v.narrowBy(sel, &a, c.passes), nil
	}
	var found []uint32
	for _, inner := range c.of {
		if len(sel) == 0 {
			break
		}
		kept, err := v.keep(sel, inner, standIn)
		switch {
		case err != nil:
			return nil, err
		case !c.any:
			sel = kept
		default: // what has passed needs not pass again
			found = v.union(found, kept)
			sel = v.without(sel, kept)
		}
	}
	if c.any {
		return found, nil
	}
	return sel, nil
}

// union merges two selections that have no row in common.
func (v *view) union(a, b []uint32) []uint32 {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	all := v.arena.open(len(a) + len(b))
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return v.arena.keep(append(append(all, a...), b...))
}

// without returns the rows of a selection that are not among some of it.
func (v *view) without(sel, some []uint32) []uint32 {
	if len(some) == 0 {
		return sel
	}
	rest := v.arena.open(len(sel) - len(some))
	for _, row := range sel {
		if len(some) > 0 && some[0] == row {
			some = some[1:]
		} else {
			rest = append(rest, row)
		}
	}
	return v.arena.keep(rest)
}
