package storage

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"
)

const (
	// blockRows bounds a block so that a code fits two bytes, a column of it decodes in cache, and a merge can hold a
	// block of each of its runs. Larger blocks compress a little better.
	blockRows = 1 << 15
	// blockDictBytes closes a block early when its strings are long: one column must fit well into one
	// Badger transaction (1.2 MB with the memtables of badger.go).
	blockDictBytes = 512 << 10
)

// block is a part of a run in columns: rows are sorted by the schema's columns, each column is a sorted
// dictionary and one code a row. Columns that were not asked for have no dictionary. Codes and sums keep their
// memory when a block is used again for the next one.
type block struct {
	rows   int
	dicts  [columns][]string
	codes  [columns][]uint16
	sums   [maxMeasures][]int64
	summed [maxMeasures]bool // which sums are loaded
}

// reset makes the block ready for another one of a number of rows.
func (b *block) reset(rows int) {
	b.rows = rows
	clear(b.dicts[:])
	clear(b.summed[:])
}

// tuple copies the dimensions of row i.
func (b *block) tuple(s *schema, i int, dims *[columns]string) {
	for _, c := range s.columns {
		dims[c] = b.dicts[c][b.codes[c][i]]
	}
}

// builder gathers sorted rows into blocks.
type builder struct {
	s         *schema
	b         *block
	index     [columns]map[string]uint16
	dictBytes int
}

func newBuilder(s *schema) *builder {
	bl := &builder{s: s}
	bl.reset()
	return bl
}

func (bl *builder) reset() {
	bl.b = &block{}
	bl.dictBytes = 0
	for _, c := range bl.s.columns {
		bl.index[c] = make(map[string]uint16)
	}
}

// full says that the block should be finished before another row is added.
func (bl *builder) full() bool { return bl.b.rows >= blockRows || bl.dictBytes >= blockDictBytes }

func (bl *builder) add(dims *[columns]string, sums *[maxMeasures]int64) {
	for _, c := range bl.s.columns {
		code, ok := bl.index[c][dims[c]]
		if !ok {
			code = uint16(len(bl.b.dicts[c]))
			bl.index[c][dims[c]] = code
			bl.b.dicts[c] = append(bl.b.dicts[c], dims[c])
			bl.dictBytes += len(dims[c])
		}
		bl.b.codes[c] = append(bl.b.codes[c], code)
	}
	for m := range bl.s.measures {
		bl.b.sums[m] = append(bl.b.sums[m], sums[m])
	}
	bl.b.rows++
}

// finish returns the block with sorted dictionaries and makes the builder ready for the next one.
func (bl *builder) finish() *block {
	b := bl.b
	for _, c := range bl.s.columns {
		sortDict(b.dicts[c], b.codes[c])
	}
	bl.reset()
	return b
}

// sortDict sorts a dictionary in place and rewrites the codes to match: equal data gives equal bytes, and
// neighbours share prefixes.
func sortDict(dict []string, codes []uint16) {
	order := make([]uint16, len(dict))
	for i := range order {
		order[i] = uint16(i)
	}
	slices.SortFunc(order, func(a, b uint16) int { return cmp.Compare(dict[a], dict[b]) })
	sorted := make([]string, len(dict))
	rank := make([]uint16, len(dict))
	for to, from := range order {
		sorted[to] = dict[from]
		rank[from] = uint16(to)
	}
	copy(dict, sorted)
	for i, code := range codes {
		codes[i] = rank[code]
	}
}

// corruptf makes an error that means damaged data.
func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// base is what the codes of a column may refer to: another column of the block. nil: nothing.
type base struct {
	dict  []string
	codes []uint16
}

// baseOf returns the base of a column, which has to be loaded.
func (b *block) baseOf(s *schema, c Column) *base {
	to, ok := s.relativeTo(c)
	if !ok {
		return nil
	}
	return &base{b.dicts[to], b.codes[to]}
}

// noCode is what translate writes for values that are not in a dictionary.
const noCode = math.MaxUint16

// translate returns the code in dict of each of the base's values. Both dictionaries are sorted.
func (to *base) translate(dict []string) []uint16 {
	own := make([]uint16, len(to.dict))
	at := 0
	for i, value := range to.dict {
		for at < len(dict) && dict[at] < value {
			at++
		}
		own[i] = noCode
		if at < len(dict) && dict[at] == value {
			own[i] = uint16(at)
		}
	}
	return own
}

// appendColumn encodes a dictionary (front-coded) and its codes, in planes: the low bytes of all codes, then, if the
// dictionary is large, the high bytes. With a base, code 0 stands for the value that the base has in this row, and all
// others are one higher.
func appendColumn(dst []byte, dict []string, codes []uint16, to *base) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(dict)))
	last := ""
	for _, s := range dict {
		shared := commonPrefix(last, s)
		dst = binary.AppendUvarint(dst, uint64(shared))
		dst = binary.AppendUvarint(dst, uint64(len(s)-shared))
		dst = append(dst, s[shared:]...)
		last = s
	}
	if to != nil {
		codes = to.refer(dict, codes)
	}
	for plane := range codePlanes(len(dict), to) {
		for _, c := range codes {
			dst = append(dst, byte(c>>(8*plane)))
		}
	}
	return dst
}

// codePlanes is how many bytes the codes of a dictionary of n values take.
func codePlanes(n int, to *base) int {
	switch {
	case n <= 1:
		return 0
	case to != nil:
		n++
	}
	if n <= 1<<8 {
		return 1
	}
	return 2
}

// refer rewrites the codes of a column as appendColumn stores them.
func (to *base) refer(dict []string, codes []uint16) []uint16 {
	own := to.translate(dict)
	referring := make([]uint16, len(codes))
	for i, c := range codes {
		if own[to.codes[i]] != c {
			referring[i] = c + 1
		}
	}
	return referring
}

func commonPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// decodeColumn is the inverse of appendColumn for a block of rows rows. It copies what it returns, the codes into
// the memory of codes.
func decodeColumn(src []byte, rows int, codes []uint16, to *base) (dict []string, _ []uint16, err error) {
	dict, planes, err := cutColumn(src, rows, to)
	if err != nil {
		return nil, nil, err
	}
	codes = slices.Grow(codes[:0], rows)[:rows]
	low, high := planes, []byte(nil)
	switch {
	case len(planes) == 0:
		clear(codes)
		return dict, codes, nil
	case len(planes) > rows:
		low, high = planes[:rows], planes[rows:]
	}
	if to != nil {
		return dict, codes, to.resolve(dict, low, high, codes)
	}
	for i, c := range low {
		codes[i] = uint16(c)
	}
	for i, c := range high {
		codes[i] |= uint16(c) << 8
	}
	if c := slices.Max(codes); int(c) >= len(dict) {
		return nil, nil, corruptf("code %d in a dictionary of %d", c, len(dict))
	}
	return dict, codes, nil
}

// cutColumn reads the dictionary of what appendColumn wrote, and returns the planes of the codes as they are.
func cutColumn(src []byte, rows int, to *base) (dict []string, planes []byte, err error) {
	n, src, err := readUvarint(src)
	if err != nil || n == 0 || n > blockRows {
		return nil, nil, corruptf("dictionary of %d values", n)
	}
	if dict, src, err = decodeDict(src, int(n)); err != nil {
		return nil, nil, err
	}
	if want := rows * codePlanes(len(dict), to); len(src) != want {
		return nil, nil, corruptf("%d code bytes for %d rows, want %d", len(src), rows, want)
	}
	return dict, src, nil
}

// resolve is the inverse of refer: it writes the codes that planes refer to. There may be no high ones.
func (to *base) resolve(dict []string, low, high []byte, codes []uint16) error {
	own := to.translate(dict)
	others := to.codes[:len(codes)]
	for i, c := range low[:len(codes)] {
		code := uint16(c)
		if high != nil {
			code |= uint16(high[i]) << 8
		}
		value := own[others[i]]
		if code != 0 { // in random order: without a branch
			value = code - 1
		}
		codes[i] = value
	}
	// A code in the base that dict lacks has become noCode, the largest one.
	if c := slices.Max(codes); int(c) >= len(dict) {
		return corruptf("code %d in a dictionary of %d", c, len(dict))
	}
	return nil
}

// decodeDict reads n front-coded values. They share the memory of one string.
func decodeDict(src []byte, n int) (dict []string, rest []byte, err error) {
	size, err := measureDict(src, n)
	if err != nil {
		return nil, nil, err
	}
	var text strings.Builder
	text.Grow(size) // never moves, so that what is cut from it is cut once
	dict = make([]string, n)
	last := ""
	for i := range dict {
		shared, k := binary.Uvarint(src)
		own, l := binary.Uvarint(src[k:])
		src = src[k+l:]
		start := text.Len()
		text.WriteString(last[:shared])
		text.Write(src[:own])
		src = src[own:]
		last = text.String()[start:]
		dict[i] = last
	}
	return dict, src, nil
}

// measureDict checks n front-coded values, and returns their length.
func measureDict(src []byte, n int) (size int, err error) {
	last := uint64(0)
	for range n {
		var shared, own uint64
		if shared, src, err = readUvarint(src); err != nil {
			return 0, err
		}
		if own, src, err = readUvarint(src); err != nil {
			return 0, err
		}
		if shared > last || own > uint64(len(src)) || size+int(shared+own) > maxChunkBytes {
			return 0, corruptf("dictionary value runs past the end")
		}
		src = src[own:]
		last = shared + own
		size += int(last)
	}
	return size, nil
}

func readUvarint(src []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(src)
	if n <= 0 {
		return 0, src, corruptf("number runs past the end")
	}
	return v, src[n:], nil
}

// appendSums encodes a measure: a width in bytes (0 if all are equal, then the value as a varint), and the values as
// signed little-endian numbers of that width, in planes: the first bytes of all, then the second ones and so on.
func appendSums(dst []byte, sums []int64) []byte {
	lo, hi := slices.Min(sums), slices.Max(sums)
	width := 8
	switch {
	case lo == hi:
		return binary.AppendVarint(append(dst, 0), lo)
	case lo >= math.MinInt8 && hi <= math.MaxInt8:
		width = 1
	case lo >= math.MinInt16 && hi <= math.MaxInt16:
		width = 2
	case lo >= math.MinInt32 && hi <= math.MaxInt32:
		width = 4
	}
	dst = append(dst, byte(width))
	for plane := range width {
		for _, v := range sums {
			dst = append(dst, byte(v>>(8*plane)))
		}
	}
	return dst
}

// decodeSums is the inverse of appendSums. It returns the memory of sums, filled.
func decodeSums(src []byte, rows int, sums []int64) ([]int64, error) {
	same, planes, err := cutSums(src, rows)
	if err != nil {
		return nil, err
	}
	sums = slices.Grow(sums[:0], rows)[:rows]
	if len(planes) == 0 {
		for i := range sums {
			sums[i] = same
		}
		return sums, nil
	}
	width := len(planes) / rows
	switch width {
	case 1:
		for i := range sums {
			sums[i] = int64(int8(planes[i]))
		}
	case 2:
		low, high := planes[:rows], planes[rows:]
		for i := range sums {
			sums[i] = int64(int16(uint16(high[i])<<8 | uint16(low[i])))
		}
	default:
		unused := 64 - 8*width
		for i := range sums {
			v := uint64(0)
			for plane := range width {
				v |= uint64(planes[plane*rows+i]) << (8 * plane)
			}
			sums[i] = int64(v<<unused) >> unused // carries the sign
		}
	}
	return sums, nil
}

// cutSums returns the planes of what appendSums wrote, or the value of all rows if there are none.
func cutSums(src []byte, rows int) (same int64, planes []byte, err error) {
	if len(src) == 0 {
		return 0, nil, corruptf("empty measure")
	}
	width, src := int(src[0]), src[1:]
	switch width {
	case 0:
		same, n := binary.Varint(src)
		if n <= 0 {
			return 0, nil, corruptf("measure has no value")
		}
		return same, nil, nil
	case 1, 2, 4, 8:
		if len(src) != width*rows {
			return 0, nil, corruptf("%d measure bytes of width %d for %d rows", len(src), width, rows)
		}
		return 0, src, nil
	}
	return 0, nil, corruptf("measure of width %d", width)
}
