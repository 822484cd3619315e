package visit

import (
	"errors"
	"math/bits"
	"unsafe"
)

// State is what a Table holds but for its key, so that the same program can go on with it after a restart. It means nothing
// without the key. The fields of bytes are memory as it is, which only a program with the same Layout can read.
type State[A, O Value] struct {
	Layout                        uint32
	Visitors, Visits, Pages, Seen []byte
	FreeVisitors                  []uint32
	FreeVisits                    []uint32
	FreePages                     []uint32
	Base                          int64
	Based                         bool
	Paths, Hosts                  []string // from number 1 on, like the others
	Attributes                    []A
	Origins                       []O
}

// layout changes with the structs, and is to be raised by hand where only the meaning of one changes.
const layout = uint32(1<<24 + unsafe.Sizeof(visitor{}) + unsafe.Sizeof(visit{})<<8 + unsafe.Sizeof(page{})<<16)

var errState = errors.New("state of another version, or damaged")

// State copies what the table holds.
func (t *Table[A, O]) State() *State[A, O] {
	s := &State[A, O]{
		Layout:   layout,
		Visitors: t.visitors.raw(), Visits: t.visits.raw(), Pages: t.pages.raw(),
		FreeVisitors: t.visitors.free, FreeVisits: t.visits.free, FreePages: t.pages.free,
		Base: t.base, Based: t.based,
		Paths: t.paths.all(), Hosts: t.hosts.all(), Attributes: t.attrs.all(), Origins: t.origins.all(),
	}
	seen := make(map[*part]bool)
	for _, p := range t.seen.dir {
		if !seen[p] {
			seen[p] = true
			for i := range p.slots {
				if p.slots[i].thing != 0 {
					s.Seen = append(s.Seen, bytesOf(p.slots[i:i+1])...)
				}
			}
		}
	}
	return s
}

// Resume makes the table of a state, with the key that it had. The error says that the state cannot be used.
func Resume[A, O Value](key []byte, s *State[A, O]) (*Table[A, O], error) {
	t := New[A, O](key)
	t.base, t.based = s.Base, s.Based
	ok := s.Layout == layout &&
		t.visitors.load(s.Visitors, s.FreeVisitors) && t.visits.load(s.Visits, s.FreeVisits) && t.pages.load(s.Pages, s.FreePages) &&
		t.paths.load(s.Paths) && t.hosts.load(s.Hosts) && t.attrs.load(s.Attributes) && t.origins.load(s.Origins)
	if !ok {
		return nil, errState
	}
	for _, text := range s.Paths {
		t.names += nameBytes + len(text)
	}
	for _, text := range s.Hosts {
		t.names += nameBytes + len(text)
	}
	for _, v := range s.Attributes {
		t.names += valueBytes + v.TextSize()
	}
	for _, v := range s.Origins {
		t.names += valueBytes + v.TextSize()
	}
	all, ok := thingsOf[seen](s.Seen)
	if !ok || !t.whole(all) {
		return nil, errState
	}
	t.visitors.reindex(max(minIndex, 1<<bits.Len(uint(t.visitors.len()*8/7))))
	for i := range all {
		if t.seen.find(all[i].thing) != nil {
			return nil, errState
		}
		*t.seen.add(all[i].thing) = all[i]
	}
	return t, nil
}

// whole checks that all numbers are numbers of something.
func (t *Table[A, O]) whole(all []seen) bool {
	ok := true
	placed := func(p *place) bool {
		return t.origins.has(p.origin) && t.hosts.has(p.host) && t.paths.has(p.entry) && t.paths.has(p.exit)
	}
	for n := range uint32(t.visitors.end()) {
		v := t.visitors.at(n + 1)
		ok = ok && t.attrs.has(v.attrs) && t.paths.has(v.last) && placed(&v.first) && int(v.open) <= t.visits.end()
	}
	links := 0
	for n := range uint32(t.visits.end()) {
		s := t.visits.at(n + 1)
		ok = ok && placed(&s.place)
		for next := s.pages; ok && next != 0; links++ {
			if ok = int(next) <= t.pages.end() && links < t.pages.end(); ok { // no circle
				next = t.pages.at(next).next
			}
		}
	}
	for i := range all {
		ok = ok && all[i].thing != 0 && int(all[i].page) <= t.pages.end()
	}
	return ok
}

func (n *names[T]) has(id uint32) bool { return id == 0 || int(id) < len(n.value) }

// all returns the values from number 1 on.
func (n *names[T]) all() []T {
	if len(n.value) == 0 {
		return nil
	}
	return n.value[1:]
}

// load numbers values that are all different.
func (n *names[T]) load(all []T) bool {
	for _, v := range all {
		if _, isNew := n.of(v); !isNew {
			return false
		}
	}
	return true
}

func (s *slab[T]) raw() (all []byte) {
	for _, c := range s.chunks {
		all = append(all, bytesOf(c)...)
	}
	return all
}

// load fills an empty slab.
func (s *slab[T]) load(raw []byte, free []uint32) bool {
	all, ok := thingsOf[T](raw)
	for i := range all {
		*s.at(s.take()) = all[i]
	}
	given := make(map[uint32]bool)
	for _, n := range free {
		if n == 0 || int(n) > len(all) || given[n] {
			return false
		}
		given[n] = true
		s.give(n)
	}
	return ok
}

// bytesOf returns memory without pointers as bytes.
func bytesOf[T any](all []T) []byte {
	if len(all) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), len(all)*int(unsafe.Sizeof(all[0])))
}

// thingsOf is the reverse of bytesOf, in memory of its own.
func thingsOf[T any](raw []byte) ([]T, bool) {
	size := int(unsafe.Sizeof(*new(T)))
	if len(raw)%size != 0 {
		return nil, false
	}
	all := make([]T, len(raw)/size)
	copy(bytesOf(all), raw)
	return all, true
}
