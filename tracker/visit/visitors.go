package visit

// ID is the keyed number of a visitor. It means nothing without the key of its table. Of a million visitors two have
// the same by accident once in some hundred thousand years of days; then they are one visitor.
type ID uint64

// visitor is what is remembered of a visitor until midnight. Values and texts are numbers of the table's names.
type visitor struct {
	lo, hi uint32 // the ID in halves, so that nothing is lost to alignment
	hours  uint32 // clock hours seen, as bits
	attrs  uint32
	last   uint32 // path of the last page view of the day, 0 if none
	open   uint32 // number of the open visit; 0 if it was let go
	first  place  // of the first visit, once that is not the open one any more
	visits uint8  // number of the open visit, from 1; the last one stands for all after it
	hour   uint8  // clock hour in which the first visit began
}

// place is under what a visit is booked, besides its hour.
type place struct{ origin, entry, exit, host uint32 }

func (v *visitor) id() ID { return ID(v.lo) | ID(v.hi)<<32 }

// visitors finds visitors by their ID: open addressing with linear probing over numbers of a slab. IDs are keyed numbers,
// so nobody can choose many that meet.
type visitors struct {
	slab[visitor]
	index []uint32 // numbers of the slab; 0 is free; a power of two of them
}

// minIndex is the size of the smallest index.
const minIndex = 8

// find returns the number of a visitor, 0 if there is none.
func (t *visitors) find(id ID) uint32 {
	if len(t.index) == 0 {
		return 0
	}
	mask := uint64(len(t.index) - 1)
	for i := uint64(id) & mask; ; i = (i + 1) & mask {
		n := t.index[i]
		if n == 0 {
			return 0
		}
		if v := t.at(n); v.lo == uint32(id) && v.hi == uint32(id>>32) {
			return n
		}
	}
}

// add makes a visitor who is not there yet.
func (t *visitors) add(id ID) uint32 {
	if 8*(t.len()+1) > 7*len(t.index) {
		t.grow()
	}
	n := t.take()
	v := t.at(n)
	v.lo, v.hi = uint32(id), uint32(id>>32)
	t.put(n, id)
	return n
}

func (t *visitors) put(n uint32, id ID) {
	mask := uint64(len(t.index) - 1)
	i := uint64(id) & mask
	for t.index[i] != 0 {
		i = (i + 1) & mask
	}
	t.index[i] = n
}

// grow doubles the index. It walks through the slab and not through the old index, so that memory is read in order.
func (t *visitors) grow() { t.reindex(max(2*len(t.index), minIndex)) }

func (t *visitors) reindex(size int) {
	t.bytes += 4 * (size - len(t.index))
	t.index = make([]uint32, size)
	for n := range uint32(t.end()) {
		if v := t.at(n + 1); v.visits != 0 {
			t.put(n+1, v.id())
		}
	}
}

// drop forgets a visitor. What stands behind it in the index moves up, so that no gap cuts it off.
func (t *visitors) drop(n uint32) {
	mask := uint64(len(t.index) - 1)
	i := uint64(t.at(n).id()) & mask
	for t.index[i] != n {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; t.index[j] != 0; j = (j + 1) & mask {
		home := uint64(t.at(t.index[j]).id()) & mask
		if (j-home)&mask >= (j-i)&mask {
			t.index[i] = t.index[j]
			i = j
		}
	}
	t.index[i] = 0
	t.give(n)
}

func (t *visitors) wipe() {
	clear(t.index)
	t.index = nil
	t.slab.wipe()
}
