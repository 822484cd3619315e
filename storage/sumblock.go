package storage

import (
	"slices"
	"strings"
)

// This file makes blocks of sums.

// blocks calls fn with all tuples in order, in blocks of bounded size.
func (m *sums) blocks(fn func(b *block) error) error {
	rows := m.sorted()
	for len(rows) > 0 {
		n := min(len(rows), blockRows)
		b, size := m.block(rows[:n])
		for size > blockDictBytes && n > 1 { // long values
			n /= 2
			b, size = m.block(rows[:n])
		}
		if err := fn(b); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// block makes a block of some rows, which are in order, and returns the bytes of its dictionaries.
func (m *sums) block(rows []uint32) (b *block, size int) {
	b = &block{rows: len(rows)}
	n := len(m.bundles)
	for i := range m.bundles {
		u := &m.bundles[i]
		byRow := make([]uint32, len(rows))
		for k, row := range rows {
			byRow[k] = m.codes[int(row)*n+i]
		}
		for at, c := range m.s.columns[u.from:u.to] {
			size += b.fill(c, byRow, m.valuesOf(u, at), m.columns[c].values)
		}
	}
	for k := range m.s.measures {
		b.sums[k] = make([]int64, len(rows))
		for at, row := range rows {
			b.sums[k][at] = m.amounts[int(row)*m.s.measures+k]
		}
		b.summed[k] = true
	}
	return b, size
}

// valuesOf returns the number of the value that each combination of a bundle has in one of its columns.
func (m *sums) valuesOf(u *bundleValues, at int) []uint32 {
	width := u.to - u.from
	if width == 1 {
		same := make([]uint32, len(m.columns[m.s.columns[u.from]].values))
		for i := range same {
			same[i] = uint32(i)
		}
		return same
	}
	values := make([]uint32, len(u.keys))
	for i := range values {
		values[i] = u.codes[i*width+at]
	}
	return values
}

// fill fills in a column from the number of each row's combination, the number of the value of each of those, and the values.
// It returns the bytes of the dictionary.
func (b *block) fill(c Column, byRow, valueOf []uint32, values []string) (size int) {
	used := make([]bool, len(valueOf))
	for _, combination := range byRow {
		used[combination] = true
	}
	place := make([]uint16, len(values)) // of each value in the dictionary
	seen := make([]bool, len(values))
	var found []uint32
	for combination, is := range used {
		if v := valueOf[combination]; is && !seen[v] {
			seen[v] = true
			found = append(found, v)
		}
	}
	slices.SortFunc(found, func(x, y uint32) int { return strings.Compare(values[x], values[y]) })
	dict := make([]string, len(found))
	for i, v := range found {
		dict[i], place[v] = values[v], uint16(i)
		size += len(values[v])
	}
	codes := make([]uint16, len(byRow))
	for i, combination := range byRow {
		codes[i] = place[valueOf[combination]]
	}
	b.dicts[c], b.codes[c] = dict, codes
	return size
}

// addBlock adds all tuples of a block.
func (m *sums) addBlock(b *block) {
	var dims [columns]string
	var amounts [maxMeasures]int64
	for row := range b.rows {
		b.tuple(m.s, row, &dims)
		for k := range m.s.measures {
			amounts[k] = b.sums[k][row]
		}
		m.add(&dims, &amounts)
	}
}
