package visit

import (
	"net/netip"
	"slices"

	"github.com/dchest/siphash"
)

// ID is the keyed number of a visitor. It means nothing without the key of its table.
type ID [2]uint64

// What things take in memory, in bytes, with the slack of the maps that hold them. A test compares the sum with
// what the runtime says.
const (
	visitorBytes = 200 // the struct, and its place in the map
	seenBytes    = 44  // key and value of a map that is two thirds full
	nameBytes    = 96  // two headers of the text and a number, in a map and a slice that grow by halves
	valueBytes   = 600 // the same for a struct of some ten texts
)

// Table holds the visitors of one site on one local day. One goroutine at a time may use it.
//
// Of what it has seen it keeps in clear only what it hands back: pages, hostnames, attributes and origins. Names
// and properties of events are compared and nothing else, so keyed numbers stand for them.
type Table[A, O Value] struct {
	key      [4]uint64
	buf      []byte // input of a keyed number; overwritten after each
	visitors map[ID]*visitor
	seen     map[thing]seen
	paths    names[string]
	hosts    names[string]
	attrs    names[A]
	origins  names[O]
	serial   uint32
	bytes    int // estimate of what all of it takes
}

// visitor is what is remembered of a visitor until midnight. Strings and attributes are numbers of the table's names.
type visitor struct {
	serial uint32 // never used twice in a table
	attrs  uint32
	hours  uint32 // clock hours seen, as bits
	last   uint32 // path of the last page view of the day, 0 if none
	visits uint16 // number of the open visit, from 1
	first  state
	open   state
}

// state is a visit in memory.
type state struct {
	origin, entry, exit, host uint32
	hour                      uint8
	active                    bool  // an interactive event happened
	start, end                int64 // Unix milliseconds
	pageViews, events         int64
}

// kinds of things that can be seen for the first time
const (
	seenPath byte = iota
	seenEvent
	seenHost
	seenProps
)

// thing is the keyed number of something that one visitor can see. Among ten million of them two are
// equal by accident once in 300,000 days; then a visitor is not counted on a page.
type thing uint64

type seen struct {
	hours  uint32 // clock hours, as bits
	visit  uint16 // last visit in which it was seen
	scroll int8   // deepest position in that visit, percent; -1 if unknown
	// Until when time in use is accounted for, in Unix milliseconds: from the first view in the visit on, moved by
	// what engagements claim.
	claimed int64
}

// New makes an empty table. The key must be random; the caller forgets it.
func New[A, O Value](key [32]byte) *Table[A, O] {
	t := &Table[A, O]{visitors: make(map[ID]*visitor), seen: make(map[thing]seen)}
	for i := range t.key {
		for j := range 8 {
			t.key[i] |= uint64(key[8*i+j]) << (8 * j)
		}
	}
	return t
}

// Close overwrites the key and drops the visitors: from here on nobody can be recognised.
func (t *Table[A, O]) Close() {
	t.key = [4]uint64{}
	clear(t.buf[:cap(t.buf)])
	*t = Table[A, O]{}
}

// Visitors returns how many visitors the table knows.
func (t *Table[A, O]) Visitors() int { return len(t.visitors) }

// Size returns the bytes that the table takes, by the estimate that Budget bounds.
func (t *Table[A, O]) Size() int { return t.bytes }

// ID returns the number of a visitor: of the address, an IPv6 one cut to its /64, which is what a household
// gets, and the user agent. Both halves of the key give one half of the number each.
func (t *Table[A, O]) ID(addr netip.Addr, userAgent string) ID {
	t.room(len(userAgent))
	addr = addr.Unmap().WithZone("")
	if a4 := addr.As16(); addr.Is4() {
		t.buf = append(t.buf, a4[12:]...)
	} else {
		t.buf = append(t.buf, a4[:8]...)
	}
	t.buf = append(t.buf, byte(addr.BitLen()/32)) // keeps the two kinds apart
	t.buf = append(t.buf, userAgent...)
	id := ID{siphash.Hash(t.key[0], t.key[1], t.buf), siphash.Hash(t.key[2], t.key[3], t.buf)}
	clear(t.buf)
	return id
}

// thing returns the number of something of a kind for a visitor. Of several texts the last may hold anything, the
// others no zero byte.
func (t *Table[A, O]) thing(v *visitor, kind byte, texts ...string) thing {
	n := 0
	for _, s := range texts {
		n += 1 + len(s)
	}
	t.room(n)
	t.buf = append(t.buf, kind, byte(v.serial), byte(v.serial>>8), byte(v.serial>>16), byte(v.serial>>24))
	for _, s := range texts {
		t.buf = append(t.buf, 0)
		t.buf = append(t.buf, s...)
	}
	number := thing(siphash.Hash(t.key[0], t.key[1], t.buf))
	clear(t.buf)
	return number
}

// fixedInput is the longest part of a number's input besides texts, in bytes.
const fixedInput = 16

// room empties the buffer and makes room for texts of a length, so that it does not grow while it is filled and
// leave a copy behind that is never overwritten.
func (t *Table[A, O]) room(texts int) { t.buf = slices.Grow(t.buf[:0], fixedInput+texts) }

// names numbers values from 1; 0 is the zero value.
type names[T comparable] struct {
	number map[T]uint32
	value  []T
}

// of returns the number of v, and whether it is a new one.
func (n *names[T]) of(v T) (id uint32, isNew bool) {
	var zero T
	if v == zero {
		return 0, false
	}
	if id, ok := n.number[v]; ok {
		return id, false
	}
	if n.number == nil {
		n.number = make(map[T]uint32)
		n.value = append(n.value, zero)
	}
	id = uint32(len(n.value))
	n.number[v] = id
	n.value = append(n.value, v)
	return id, true
}

func (n *names[T]) get(id uint32) (v T) {
	if id == 0 {
		return v
	}
	return n.value[id]
}

// name numbers a text of one of the table's lists.
func (t *Table[A, O]) name(n *names[string], s string) uint32 {
	id, isNew := n.of(s)
	if isNew {
		t.bytes += nameBytes + len(s)
	}
	return id
}

// export turns a state into what the caller sees.
func (t *Table[A, O]) export(s *state) Visit[O] {
	return Visit[O]{
		Hour: s.hour, Entry: t.paths.get(s.entry), Exit: t.paths.get(s.exit), Hostname: t.hosts.get(s.host),
		Origin: t.origins.get(s.origin), PageViews: s.pageViews, Events: s.events,
		Seconds: s.end/1000 - s.start/1000, Bounce: s.pageViews == 1 && !s.active,
	}
}
