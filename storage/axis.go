package storage

import (
	"encoding/binary"
	"math"
	"slices"
)

// This file reads columns and measures of a block for queries: most of them look at few rows, so what is not needed is not
// unpacked further than to its bytes.

// axis is a dimension of a block: a value for each code, and a code for each row.
type axis struct {
	dict  []string
	low   []byte   // the codes, if each is one byte
	codes []uint16 // else; if both are nil, all codes are 0
}

// code is the code of a row.
func (a *axis) code(row uint32) uint16 {
	switch {
	case a.low != nil:
		return uint16(a.low[row])
	case a.codes != nil:
		return a.codes[row]
	}
	return 0
}

// wide returns all codes as they are for larger dictionaries.
func (a *axis) wide(rows int, mem *arena[uint16]) []uint16 {
	if a.codes != nil {
		return a.codes
	}
	codes := mem.room(rows)
	if a.low == nil {
		clear(codes)
	}
	for i, c := range a.low {
		codes[i] = uint16(c)
	}
	return codes
}

// amounts is a measure of a block.
type amounts struct {
	loaded bool
	same   int64   // that of all rows, unless
	low    []byte  // each is one signed byte, or
	wide   []int64 // larger
}

// at is the amount of a row.
func (m *amounts) at(row uint32) int64 {
	switch {
	case m.low != nil:
		return int64(int8(m.low[row]))
	case m.wide != nil:
		return m.wide[row]
	}
	return m.same
}

// shelf keeps the memory of a block's columns and measures for the next one.
type shelf struct {
	axes    [columns]axis
	amounts [maxMeasures]amounts

	columnBytes  [columns][]byte
	codes        [columns][]uint16
	measureBytes [maxMeasures][]byte
	wide         [maxMeasures][]int64
	widened      arena[uint16]
}

func (sh *shelf) reset() {
	clear(sh.axes[:])
	clear(sh.amounts[:])
	sh.widened.reset()
}

// load reads a column of block n of a run, unless it is there.
func (sh *shelf) load(r *run, n int, c Column) error {
	if sh.axes[c].dict != nil {
		return nil
	}
	if r.memory != nil {
		sh.axes[c] = r.memory.axis(n, r.head.blockRows[n], c, sh.codes[c])
		sh.codes[c] = sh.axes[c].codes
		return nil
	}
	var to *base
	if c2, ok := r.s.relativeTo(c); ok {
		if err := sh.load(r, n, c2); err != nil {
			return err
		}
		other := &sh.axes[c2]
		to = &base{other.dict, other.wide(r.head.blockRows[n], &sh.widened)}
	}
	raw, err := r.raw(n, uint8(c), &sh.columnBytes[c])
	if err == nil {
		err = sh.read(raw, r.head.blockRows[n], c, to)
	}
	if err != nil {
		return r.wrap(err)
	}
	return nil
}

func (sh *shelf) read(raw []byte, rows int, c Column, to *base) (err error) {
	a := axis{}
	if to == nil {
		var planes []byte
		if a.dict, planes, err = cutColumn(raw, rows, nil); err != nil {
			return err
		}
		switch len(planes) {
		case 0:
			sh.axes[c] = a
			return nil
		case rows:
			if anyAbove(planes, byte(len(a.dict)-1)) {
				return corruptf("code in a dictionary of %d is too large", len(a.dict))
			}
			a.low = planes
			sh.axes[c] = a
			return nil
		}
	}
	if a.dict, a.codes, err = decodeColumn(raw, rows, sh.codes[c], to); err != nil {
		return err
	}
	sh.codes[c], sh.axes[c] = a.codes, a
	return nil
}

// measure reads a measure of block n of a run, unless it is there.
func (sh *shelf) measure(r *run, n int, m Measure) error {
	if sh.amounts[m].loaded {
		return nil
	}
	rows := r.head.blockRows[n]
	if r.memory != nil {
		sh.amounts[m] = r.memory.measure(n, rows, m, sh.wide[m])
		sh.wide[m] = sh.amounts[m].wide
		return nil
	}
	raw, err := r.raw(n, measureColumn+uint8(m), &sh.measureBytes[m])
	if err != nil {
		return r.wrap(err)
	}
	x := amounts{loaded: true}
	same, planes, err := cutSums(raw, rows)
	switch {
	case err != nil:
	case len(planes) == 0:
		x.same = same
	case len(planes) == rows:
		x.low = planes
	default:
		x.wide, err = decodeSums(raw, rows, sh.wide[m])
		sh.wide[m] = x.wide
	}
	if err != nil {
		return r.wrap(err)
	}
	sh.amounts[m] = x
	return nil
}

// anyAbove reports whether a byte is larger than most. It looks at eight at a time: adding what is missing to 0x80 carries
// into the highest bit of those that are.
func anyAbove(bytes []byte, most byte) bool {
	if most == math.MaxUint8 {
		return false
	}
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	add := ones * uint64(0x7f-most&0x7f)
	for ; len(bytes) >= 8; bytes = bytes[8:] {
		w := binary.LittleEndian.Uint64(bytes)
		above := w&^highs + add
		if most < 0x80 {
			above |= w // those from 0x80 on are above anyway
		} else {
			above &= w // those below are not
		}
		if above&highs != 0 {
			return true
		}
	}
	return slices.ContainsFunc(bytes, func(b byte) bool { return b > most })
}

// arena is memory for what lives as long as one block: selections of rows, and what they count.
type arena[T any] struct {
	all  []T
	used int
}

func (a *arena[T]) reset() { a.used = 0 }

// grow makes place for n elements more.
func (a *arena[T]) grow(n int) {
	if a.used+n > len(a.all) {
		a.all, a.used = make([]T, max(n, 4*blockRows)), 0 // what lies in the old one stays valid
	}
}

// room returns n elements, of which nothing is known.
func (a *arena[T]) room(n int) []T {
	a.grow(n)
	a.used += n
	return a.all[a.used-n : a.used : a.used]
}

// open returns an empty slice that can take n elements. What is used of it is kept by keep, before anything else is taken.
func (a *arena[T]) open(n int) []T {
	a.grow(n)
	return a.all[a.used : a.used : a.used+n]
}

func (a *arena[T]) keep(some []T) []T {
	a.used += len(some)
	return some[:len(some):len(some)]
}
