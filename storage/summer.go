package storage

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unsafe"
)

// summer adds up equal tuples in memory.
type summer struct {
	bytes int // roughly what is held
	parts map[partition]map[string]*sumRow
	key   []byte
}

// sumRow is a tuple and its sums. The tuple is one string, which is a quarter of what the strings of a Row take, and sorts
// as the tuple does: the values in the order of the schema's columns, each with tupleEnd behind it.
type sumRow struct {
	key  string
	sums [maxMeasures]int64
}

const (
	// tupleEnd sorts before every continuation of a value. A zero byte within a value is written as tupleZero.
	tupleEnd  = "\x00\x01"
	tupleZero = "\x00\xff"
)

func newSummer() *summer {
	return &summer{parts: make(map[partition]map[string]*sumRow)}
}

// add adds a copy of what it needs of r. Columns that the table does not have are dropped.
func (m *summer) add(r *Row) {
	s, err := schemaOf(r.Table)
	if err != nil {
		return // Submit and Import.Append refuse such rows
	}
	p := partition{r.Site, r.Table, r.Day}
	part := m.parts[p]
	if part == nil {
		part = make(map[string]*sumRow)
		m.parts[p] = part
	}
	m.key = m.key[:0]
	for _, c := range s.columns {
		m.key = appendValue(m.key, r.Dims[c])
	}
	sum, ok := part[string(m.key)]
	if !ok {
		sum = &sumRow{key: string(m.key)}
		part[sum.key] = sum
		const entry = 40 // of the map, for each row
		m.bytes += len(sum.key) + int(unsafe.Sizeof(*sum)) + entry
	}
	for i := range s.measures {
		sum.sums[i] += r.Sums[i]
	}
}

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

// tuple cuts the key into the values of the columns. They share its memory.
func (r *sumRow) tuple(s *schema, dims *[columns]string) {
	rest := r.key
	for _, c := range s.columns {
		end := 0
		for end += strings.IndexByte(rest, 0); rest[end+1] != tupleEnd[1]; {
			end += 2
			end += strings.IndexByte(rest[end:], 0)
		}
		if dims[c], rest = rest[:end], rest[end+len(tupleEnd):]; strings.IndexByte(dims[c], 0) >= 0 {
			dims[c] = strings.ReplaceAll(dims[c], tupleZero, "\x00")
		}
	}
}

// partitions returns the partitions in the order of their keys.
func (m *summer) partitions() []partition {
	return slices.SortedFunc(maps.Keys(m.parts), comparePartitions)
}

// sorted returns the tuples of a partition in order, without those that came to nothing.
func (m *summer) sorted(p partition) []*sumRow {
	rows := make([]*sumRow, 0, len(m.parts[p]))
	for _, r := range m.parts[p] {
		if r.sums != [maxMeasures]int64{} {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b *sumRow) int { return strings.Compare(a.key, b.key) })
	return rows
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
