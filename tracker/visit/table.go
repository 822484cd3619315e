package visit

import (
	"net/netip"

	"github.com/dchest/siphash"
)

// ID is the keyed number of a visitor. It means nothing without the key of its table.
type ID [2]uint64

// Table holds the visitors of one site on one local day. One goroutine at a time may use it.
type Table[A, O comparable] struct {
	key      [4]uint64
	buf      []byte // input of the last ID; overwritten
	visitors map[ID]*visitor
	seen     map[seenKey]seen
	paths    names[string]
	events   names[string]
	hosts    names[string]
	props    names[string] // event name, NUL, properties
	attrs    names[A]
	origins  names[O]
	serial   uint32
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
	active                    bool // an interactive event happened
	start, end                int64
	pageViews, events         int64
}

// things that can be seen for the first time
const (
	seenPath = iota
	seenEvent
	seenHost
	seenProps
	seenKinds
)

type seenKey struct {
	visitor uint32
	what    uint64 // number of the name times seenKinds, plus its kind
}

type seen struct {
	hours  uint32 // clock hours, as bits
	visit  uint16 // last visit in which it was seen
	scroll int8   // deepest position in that visit, percent; -1 if unknown
}

// New makes an empty table. The key must be random; the caller forgets it.
func New[A, O comparable](key [32]byte) *Table[A, O] {
	t := &Table[A, O]{visitors: make(map[ID]*visitor), seen: make(map[seenKey]seen)}
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

// ID returns the number of a visitor: of the address, an IPv6 one cut to its /64, which is what a household
// gets, and the user agent. Both halves of the key give one half of the number each.
func (t *Table[A, O]) ID(addr netip.Addr, userAgent string) ID {
	addr = addr.Unmap().WithZone("")
	if a4 := addr.As16(); addr.Is4() {
		t.buf = append(t.buf[:0], a4[12:]...)
	} else {
		t.buf = append(t.buf[:0], a4[:8]...)
	}
	t.buf = append(t.buf, byte(addr.BitLen()/32)) // keeps the two kinds apart
	t.buf = append(t.buf, userAgent...)
	id := ID{siphash.Hash(t.key[0], t.key[1], t.buf), siphash.Hash(t.key[2], t.key[3], t.buf)}
	clear(t.buf)
	return id
}

// names numbers values from 1; 0 is the zero value.
type names[T comparable] struct {
	number map[T]uint32
	value  []T
}

func (n *names[T]) of(v T) uint32 {
	var zero T
	if v == zero {
		return 0
	}
	if id, ok := n.number[v]; ok {
		return id
	}
	if n.number == nil {
		n.number = make(map[T]uint32)
		n.value = append(n.value, zero)
	}
	id := uint32(len(n.value))
	n.number[v] = id
	n.value = append(n.value, v)
	return id
}

func (n *names[T]) get(id uint32) (v T) {
	if id == 0 {
		return v
	}
	return n.value[id]
}

// export turns a state into what the caller sees.
func (t *Table[A, O]) export(s *state) Visit[O] {
	return Visit[O]{
		Hour: s.hour, Entry: t.paths.get(s.entry), Exit: t.paths.get(s.exit), Hostname: t.hosts.get(s.host),
		Origin: t.origins.get(s.origin), PageViews: s.pageViews, Events: s.events, Seconds: s.end - s.start,
		Bounce: s.pageViews == 1 && !s.active,
	}
}
