package visit

import (
	"net/netip"
	"slices"

	"github.com/dchest/siphash"
)

// KeySize is the length of a table's key in bytes: half of it is for visitors, half for what they see.
const KeySize = 32

// What names take in memory, in bytes, with the slack of the maps that hold them. A test compares the sum of all with
// what the runtime says.
const (
	nameBytes  = 96  // two headers of the text and a number, in a map and a slice that grow by halves
	valueBytes = 600 // the same for a struct of some ten texts
)

// Table holds the visitors of one site on one local day. One goroutine at a time may use it.
//
// Of what it has seen it keeps in clear only what it hands back: pages, hostnames, attributes and origins. Names
// and properties of events are compared and nothing else, so keyed numbers stand for them.
type Table[A, O Value] struct {
	key      []byte // the caller's memory; nil after Close
	buf      []byte // input of a keyed number; overwritten after each
	visitors visitors
	visits   slab[visit] // open, or ended not long ago
	pages    slab[page]  // of these
	seen     things
	hand     uint32 // the visit that was looked at last, to let it go
	base     int64  // time of the first hit, in Unix milliseconds
	based    bool
	paths    names[string]
	hosts    names[string]
	attrs    names[A]
	origins  names[O]
	names    int // estimate of what names take, in bytes
}

// kinds of things that can be seen for the first time
const (
	seenPath byte = iota
	seenEvent
	seenHost
	seenProps
)

// New makes an empty table. The key is KeySize random bytes; the table reads it where it is, and keeps no copy. It belongs
// to the table until Close.
func New[A, O Value](key []byte) *Table[A, O] {
	if len(key) != KeySize {
		panic("BUG: key of a table has another length")
	}
	return &Table[A, O]{key: key}
}

// Close overwrites the key and the visitors: from here on nobody can be recognised.
func (t *Table[A, O]) Close() {
	clear(t.key)
	clear(t.buf[:cap(t.buf)])
	t.visitors.wipe()
	t.visits.wipe()
	t.pages.wipe()
	t.seen.wipe()
	*t = Table[A, O]{}
}

// Visitors returns how many visitors the table knows.
func (t *Table[A, O]) Visitors() int { return t.visitors.len() }

// Size returns the bytes that the table takes, by the estimate that Budget bounds: to the byte what it holds of visitors,
// visits and what was seen, and nearly of names.
func (t *Table[A, O]) Size() int {
	return t.visitors.bytes + t.visits.bytes + t.pages.bytes + t.seen.bytes + t.names
}

// ID returns the number of a visitor: of the address, an IPv6 one cut to its /64, which is what a household
// gets, and the user agent. Not after Close.
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
	return ID(t.number(t.key[:KeySize/2]))
}

// thing returns the number of some texts for a visitor. Of several the last may hold anything, the others no zero byte.
func (t *Table[A, O]) thing(v *visitor, kind byte, texts ...string) thing {
	n := 0
	for _, s := range texts {
		n += 1 + len(s)
	}
	t.room(n)
	t.begin(v, kind)
	for _, s := range texts {
		t.buf = append(t.buf, 0)
		t.buf = append(t.buf, s...)
	}
	return max(1, thing(t.number(t.key[KeySize/2:])))
}

// thingOf returns the number of one of the table's names for a visitor.
func (t *Table[A, O]) thingOf(v *visitor, kind byte, name uint32) thing {
	t.room(0)
	t.begin(v, kind)
	t.buf = append32(t.buf, name)
	return max(1, thing(t.number(t.key[KeySize/2:])))
}

func (t *Table[A, O]) begin(v *visitor, kind byte) {
	t.buf = append(t.buf, kind)
	t.buf = append32(t.buf, v.lo)
	t.buf = append32(t.buf, v.hi)
}

func append32(b []byte, n uint32) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// fixedInput is the longest part of a number's input besides texts, in bytes.
const fixedInput = 32

// room empties the buffer and makes room for texts of a length, so that it does not grow while it is filled and
// leave a copy behind that is never overwritten.
func (t *Table[A, O]) room(texts int) { t.buf = slices.Grow(t.buf[:0], fixedInput+texts) }

// number returns the keyed number of what the buffer holds, and overwrites that. What the calculation leaves of the key on
// the stack is overwritten too; the first call makes sure that the stack does not move between.
func (t *Table[A, O]) number(key []byte) uint64 {
	overwriteStack()
	n := hash(key, t.buf)
	overwriteStack()
	clear(t.buf)
	return n
}

// hash is SipHash-2-4. It is not inlined, so that the halves of the key are nowhere but below its caller's frame.
//
//go:noinline
func hash(key, text []byte) uint64 { return siphash.Hash(word(key), word(key[8:]), text) }

func word(b []byte) (n uint64) {
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// stackOfHash is more than hash and what it calls put on the stack, in bytes.
const stackOfHash = 384

//go:noinline
func overwriteStack() (n byte) {
	var b [stackOfHash]byte
	for i := range 2 { // so that the compiler cannot do without the array
		n += b[i*int(n)]
	}
	return n
}

// export turns a visit into what the caller sees.
func (t *Table[A, O]) export(s *visit) Visit[O] {
	v := t.exportPlace(&s.place, s.hour)
	v.PageViews, v.Events = int64(s.views), int64(s.events)
	v.Seconds = (t.base+int64(s.end))/1000 - (t.base+int64(s.start))/1000
	v.Bounce = s.views == 1 && !s.active
	return v
}

func (t *Table[A, O]) exportPlace(p *place, hour uint8) Visit[O] {
	return Visit[O]{
		Hour: hour, Entry: t.paths.get(p.entry), Exit: t.paths.get(p.exit), Hostname: t.hosts.get(p.host), Origin: t.origins.get(p.origin),
	}
}
