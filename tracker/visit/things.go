package visit

import "unsafe"

// thing is the keyed number of something that one visitor can see; never 0. Among ten million of them two are
// equal by accident once in 300,000 days; then a visitor is not counted on a page.
type thing uint64

// seen is what is remembered of a thing until midnight.
type seen struct {
	thing thing  // 0: free
	hours uint32 // clock hours, as bits; and in the upper eight the last visit in which it was seen
	page  uint32 // number of the page in that visit; of an ended visit it means nothing
}

const (
	hourBits  = 1<<24 - 1
	visitBits = 24 // below the number of the visit
)

func (s *seen) visit() uint8 { return uint8(s.hours >> visitBits) }

func (s *seen) setVisit(n uint8) { s.hours = s.hours&hourBits | uint32(n)<<visitBits }

// things finds what was seen. It is a directory of small tables with open addressing and linear probing: the upper bits of
// a thing choose the table, the lower ones the place in it. A table that is full is divided in two, so that growth
// never stops the site for longer than it takes to move so few. Things are keyed numbers, so nobody can choose
// many that meet.
type things struct {
	dir   []*part // a power of two of them; neighbours may be the same part
	depth uint8   // the bits that dir is chosen by
	n     int
	bytes int
}

type part struct {
	depth uint8 // the bits that all things in it have in common
	n     int
	slots []seen // a power of two of them
}

const (
	minPart = 4    // slots of the first part, at first
	maxPart = 1024 // slots at which a part is divided: 16 KiB
)

const seenSize = int(unsafe.Sizeof(seen{}))

// partBytes is what a part takes besides its slots: its head and its place in dir.
const partBytes = int(unsafe.Sizeof(part{})) + 2*int(unsafe.Sizeof((*part)(nil)))

func (t *things) part(key thing) *part { return t.dir[uint64(key)>>(64-t.depth)] } // a shift by 64 gives 0

// find returns what is remembered of a thing, nil if nothing is. It holds until the next add or drop.
func (t *things) find(key thing) *seen {
	if len(t.dir) == 0 {
		return nil
	}
	p := t.part(key)
	mask := uint64(len(p.slots) - 1)
	for i := uint64(key) & mask; ; i = (i + 1) & mask {
		switch s := &p.slots[i]; s.thing {
		case key:
			return s
		case 0:
			return nil
		}
	}
}

// add remembers a thing that is not there yet.
func (t *things) add(key thing) *seen {
	if len(t.dir) == 0 {
		t.dir = []*part{{slots: make([]seen, minPart)}}
		t.bytes += partBytes + minPart*seenSize
	}
	p := t.part(key)
	for 8*(p.n+1) > 7*len(p.slots) {
		if len(p.slots) < maxPart {
			t.double(p)
		} else {
			t.divide(p, key)
			p = t.part(key)
		}
	}
	t.n++
	return p.put(seen{thing: key})
}

func (p *part) put(s seen) *seen {
	mask := uint64(len(p.slots) - 1)
	i := uint64(s.thing) & mask
	for p.slots[i].thing != 0 {
		i = (i + 1) & mask
	}
	p.slots[i] = s
	p.n++
	return &p.slots[i]
}

func (t *things) double(p *part) {
	old := p.slots
	p.slots, p.n = make([]seen, 2*len(old)), 0
	for _, s := range old {
		if s.thing != 0 {
			p.put(s)
		}
	}
	t.bytes += len(old) * seenSize
}

// divide puts the things of a part into two by one bit more.
func (t *things) divide(p *part, key thing) {
	if p.depth == t.depth {
		dir := make([]*part, 2*len(t.dir))
		for i := range dir {
			dir[i] = t.dir[i/2]
		}
		t.dir = dir
		t.depth++
	}
	bit := thing(1) << (63 - p.depth)
	halves := [2]*part{}
	for i := range halves {
		halves[i] = &part{depth: p.depth + 1, slots: make([]seen, len(p.slots))}
	}
	for _, s := range p.slots {
		switch {
		case s.thing == 0:
		case s.thing&bit == 0:
			halves[0].put(s)
		default:
			halves[1].put(s)
		}
	}
	// The places of the part are neighbours, and the upper half of them is for things with the bit.
	n := 1 << (t.depth - p.depth)
	from := int(uint64(key)>>(64-t.depth)) &^ (n - 1)
	for i := range n {
		t.dir[from+i] = halves[2*i/n]
	}
	t.bytes += partBytes + len(p.slots)*seenSize
}

// drop forgets a thing that is there. What stands behind it moves up, so that no gap cuts it off.
func (t *things) drop(key thing) {
	p := t.part(key)
	mask := uint64(len(p.slots) - 1)
	i := uint64(key) & mask
	for p.slots[i].thing != key {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; p.slots[j].thing != 0; j = (j + 1) & mask {
		home := uint64(p.slots[j].thing) & mask
		if (j-home)&mask >= (j-i)&mask {
			p.slots[i] = p.slots[j]
			i = j
		}
	}
	p.slots[i] = seen{}
	p.n--
	t.n--
}

func (t *things) wipe() {
	for _, p := range t.dir {
		clear(p.slots)
	}
	*t = things{}
}
