package storage

import (
	"cmp"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
)

// summer adds up equal tuples in memory, by partition.
type summer struct {
	parts map[partition]*sums
	spare map[*schema][]*sums // of earlier partitions
}

func newSummer() *summer { return &summer{parts: make(map[partition]*sums)} }

// maxSpare and maxSpareRows bound what is kept for later.
const (
	maxSpare     = 4
	maxSpareRows = 1 << 12
)

// reset empties the summer and keeps some of its memory.
func (m *summer) reset() {
	if m.spare == nil {
		m.spare = make(map[*schema][]*sums)
	}
	for _, part := range m.parts {
		if s := part.s; len(m.spare[s]) < maxSpare && part.rows() <= maxSpareRows {
			part.reset()
			m.spare[s] = append(m.spare[s], part)
		}
	}
	clear(m.parts)
}

// part returns empty sums.
func (m *summer) part(s *schema) *sums {
	n := len(m.spare[s])
	if n == 0 {
		return newSums(s)
	}
	part := m.spare[s][n-1]
	m.spare[s] = m.spare[s][:n-1]
	return part
}

// add adds a copy of what it needs of r. Columns that the table does not have are dropped.
func (m *summer) add(r *Row) {
	p := partition{r.Site, r.Table, r.Day}
	part := m.parts[p]
	if part == nil {
		s, err := schemaOf(r.Table)
		if err != nil {
			return // Submit and Import.Append refuse such rows
		}
		part = m.part(s)
		m.parts[p] = part
	}
	part.add(&r.Dims, &r.Sums)
}

// partitions returns the partitions in the order of their keys.
func (m *summer) partitions() []partition {
	return slices.SortedFunc(maps.Keys(m.parts), comparePartitions)
}

// bytes is roughly what is held.
func (m *summer) bytes() (n int) {
	for _, p := range m.parts {
		n += p.bytes()
	}
	return n
}

func comparePartitions(a, b partition) int {
	return cmp.Or(cmp.Compare(a.site, b.site), cmp.Compare(a.table, b.table), cmp.Compare(a.day, b.day))
}

func compareTuples(s *schema, a, b *[columns]string) int {
	for _, c := range s.columns {
		if d := cmp.Compare(a[c], b[c]); d != 0 {
			return d
		}
	}
	return 0
}

// sums are the tuples of a partition. A value is kept once and has a number; so has each combination of the columns of a
// bundle, and a tuple is the numbers of its bundles. Neighbours mostly have the same values, and then nothing is looked up.
type sums struct {
	s       *schema
	bundles []bundleValues
	columns [columns]columnValues
	seed    uint64   // of the table: nobody outside can tell which tuples share a place
	table   []uint32 // open addressing: rows, from 1
	codes   []uint32 // of rows: one for each bundle
	amounts []int64  // of rows: one for each measure
	last    [columns]string
	recent  [maxBundles]uint32 // bundles of last
	size    int                // of values, in bytes
}

// bundleValues numbers the combinations of values of a bundle. A bundle of one column has the numbers of that.
type bundleValues struct {
	bundle
	index map[string]uint32
	keys  []string // sort as the combinations do
	codes []uint32 // of combinations: one for each column
}

// columnValues numbers the values of a column.
type columnValues struct {
	index  map[string]uint32
	values []string
}

func newSums(s *schema) *sums {
	m := &sums{s: s, seed: rand.Uint64()}
	for _, u := range s.bundles() {
		m.bundles = append(m.bundles, bundleValues{bundle: u})
	}
	return m
}

// reset empties the sums and keeps their memory.
func (m *sums) reset() {
	for i := range m.bundles {
		u := &m.bundles[i]
		clear(u.index)
		clear(u.keys)
		u.keys, u.codes = u.keys[:0], u.codes[:0]
	}
	for _, c := range m.s.columns {
		v := &m.columns[c]
		clear(v.index)
		clear(v.values)
		v.values = v.values[:0]
	}
	clear(m.table)
	m.codes, m.amounts, m.size = m.codes[:0], m.amounts[:0], 0
	m.last = [columns]string{}
}

// rows is how many tuples there are, also of those that came to nothing.
func (m *sums) rows() int { return len(m.amounts) / m.s.measures }

// bytes is roughly what is held.
func (m *sums) bytes() int { return 4*(len(m.table)+len(m.codes)) + 8*len(m.amounts) + m.size }

// add adds to the sums of a tuple.
func (m *sums) add(dims *[columns]string, amounts *[maxMeasures]int64) {
	first := len(m.amounts) == 0
	for i := range m.bundles {
		u := &m.bundles[i]
		if first || !u.equal(m.s, dims, &m.last) {
			m.recent[i] = m.bundleOf(u, dims)
		}
	}
	m.last = *dims
	to := m.row(m.recent[:len(m.bundles)])
	for i := range to {
		to[i] += amounts[i]
	}
}

// equal reports whether two tuples have the same values in a bundle.
func (u *bundleValues) equal(s *schema, a, b *[columns]string) bool {
	for _, c := range s.columns[u.from:u.to] {
		if a[c] != b[c] {
			return false
		}
	}
	return true
}

// bundleOf returns the number of a tuple's values in a bundle.
func (m *sums) bundleOf(u *bundleValues, dims *[columns]string) uint32 {
	cols := m.s.columns[u.from:u.to]
	if len(cols) == 1 {
		return m.value(cols[0], dims[cols[0]])
	}
	var room [512]byte // on the stack; what is longer goes to the heap
	key := room[:0]
	for _, c := range cols {
		key = appendValue(key, dims[c])
	}
	if code, ok := u.index[string(key)]; ok {
		return code
	}
	return m.newBundle(u, string(key), func(c Column) string { return dims[c] })
}

// newBundle numbers a combination of values that has none yet.
func (m *sums) newBundle(u *bundleValues, key string, value func(Column) string) uint32 {
	if u.index == nil {
		u.index = make(map[string]uint32)
	}
	code := uint32(len(u.keys))
	u.index[key] = code
	u.keys = append(u.keys, key)
	for _, c := range m.s.columns[u.from:u.to] {
		u.codes = append(u.codes, m.value(c, value(c)))
	}
	m.size += len(key) + valueOverhead + 4*(u.to-u.from)
	return code
}

// valueOverhead is what a value takes in memory besides its text: twice its header, and a number, in a map that is half full.
const valueOverhead = 64

// value returns the number of a value.
func (m *sums) value(c Column, value string) uint32 {
	v := &m.columns[c]
	code, ok := v.index[value]
	if ok {
		return code
	}
	if v.index == nil {
		v.index = make(map[string]uint32)
	}
	value = strings.Clone(value) // it may be a part of something large
	code = uint32(len(v.values))
	v.index[value] = code
	v.values = append(v.values, value)
	m.size += len(value) + valueOverhead
	return code
}

// row returns the sums of the tuple of some bundles.
func (m *sums) row(codes []uint32) []int64 {
	rows := m.rows()
	if 4*(rows+1) > 3*len(m.table) {
		m.grow()
	}
	mask := uint64(len(m.table) - 1)
	for at := m.hash(codes) & mask; ; at = (at + 1) & mask {
		row := int(m.table[at])
		if row == 0 {
			m.table[at] = uint32(rows + 1)
			m.codes = append(m.codes, codes...)
			n := len(m.amounts)
			m.amounts = slices.Grow(m.amounts, m.s.measures)[:n+m.s.measures]
			clear(m.amounts[n:])
			return m.amounts[n:]
		}
		if slices.Equal(m.codes[(row-1)*len(codes):row*len(codes)], codes) {
			return m.amounts[(row-1)*m.s.measures : row*m.s.measures]
		}
	}
}

func (m *sums) hash(codes []uint32) uint64 {
	const mix = 0x9E3779B97F4A7C15 // 2^64 by the golden ratio: spreads what differs little
	h := m.seed
	for _, c := range codes {
		h = (h ^ uint64(c)) * mix
		h ^= h >> 29
	}
	return h ^ h>>32
}

// minTable is the smallest size of a table. Most commits are of a few hits.
const minTable = 64

func (m *sums) grow() {
	m.table = make([]uint32, max(minTable, 2*len(m.table)))
	mask := uint64(len(m.table) - 1)
	n := len(m.bundles)
	for row := range m.rows() {
		at := m.hash(m.codes[row*n:(row+1)*n]) & mask
		for m.table[at] != 0 {
			at = (at + 1) & mask
		}
		m.table[at] = uint32(row + 1)
	}
}

// addAll adds all tuples of others of the same table. Values are looked up once each.
func (m *sums) addAll(from *sums) {
	n := len(m.bundles)
	to := make([][]uint32, n) // by unit and number in from, the number here
	for i := range m.bundles {
		u, other := &m.bundles[i], &from.bundles[i]
		cols := m.s.columns[u.from:u.to]
		if len(cols) == 1 {
			for _, value := range from.columns[cols[0]].values {
				to[i] = append(to[i], m.value(cols[0], value))
			}
			continue
		}
		for k, key := range other.keys {
			code, ok := u.index[key]
			if !ok {
				code = m.newBundle(u, key, func(c Column) string {
					at := slices.Index(cols, c)
					return from.columns[c].values[other.codes[k*len(cols)+at]]
				})
			}
			to[i] = append(to[i], code)
		}
	}
	var codes [maxBundles]uint32
	for row := range from.rows() {
		for i, c := range from.codes[row*n : (row+1)*n] {
			codes[i] = to[i][c]
		}
		amounts := m.row(codes[:n])
		for i, a := range from.amounts[row*m.s.measures : (row+1)*m.s.measures] {
			amounts[i] += a
		}
	}
}

// sorted returns the rows in the order of their tuples, without those that came to nothing.
func (m *sums) sorted() []uint32 {
	ranks := m.ranks()
	n := len(m.bundles)
	type keyed struct {
		key uint64 // ranks of the first bundles, as many as there is room for
		row uint32
	}
	keys := make([]keyed, 0, m.rows())
	width, inKey := 0, 0 // of the ranks in a key, in bits
	for ; inKey < n; inKey++ {
		w := bits.Len(uint(len(ranks[inKey])))
		if width+w > 64 {
			break
		}
		width += w
	}
	for row := range m.rows() {
		if !slices.ContainsFunc(m.amounts[row*m.s.measures:(row+1)*m.s.measures], func(a int64) bool { return a != 0 }) {
			continue
		}
		k := keyed{row: uint32(row)}
		for i, c := range m.codes[row*n : row*n+inKey] {
			k.key = k.key<<bits.Len(uint(len(ranks[i]))) | uint64(ranks[i][c])
		}
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b keyed) int {
		if a.key != b.key {
			return cmp.Compare(a.key, b.key)
		}
		for i := inKey; i < n; i++ {
			if d := cmp.Compare(ranks[i][m.codes[int(a.row)*n+i]], ranks[i][m.codes[int(b.row)*n+i]]); d != 0 {
				return d
			}
		}
		return 0
	})
	rows := make([]uint32, len(keys))
	for i, k := range keys {
		rows[i] = k.row
	}
	return rows
}

// ranks returns for each bundle the place of its combinations in their order.
func (m *sums) ranks() [][]uint32 {
	all := make([][]uint32, len(m.bundles))
	for i := range m.bundles {
		keys := m.bundles[i].keys
		if u := m.bundles[i].bundle; u.to-u.from == 1 {
			keys = m.columns[m.s.columns[u.from]].values
		}
		order := make([]uint32, len(keys))
		for k := range order {
			order[k] = uint32(k)
		}
		slices.SortFunc(order, func(a, b uint32) int { return strings.Compare(keys[a], keys[b]) })
		all[i] = make([]uint32, len(keys))
		for rank, k := range order {
			all[i][k] = uint32(rank)
		}
	}
	return all
}

const (
	// tupleEnd sorts before every continuation of a value. A zero byte within a value is written as tupleZero.
	tupleEnd  = "\x00\x01"
	tupleZero = "\x00\xff"
)

// appendValue appends a value so that combinations sort as their values do, one after the other.
func appendValue(key []byte, value string) []byte {
	for {
		zero := strings.IndexByte(value, 0)
		if zero < 0 {
			break
		}
		key = append(append(key, value[:zero]...), tupleZero...)
		value = value[zero+1:]
	}
	return append(append(key, value...), tupleEnd...)
}
