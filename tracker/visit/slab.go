package visit

import "unsafe"

// chunkLen is how many things a chunk of a slab holds: few enough that a chunk more is soon used, many enough that
// chunks are few.
const chunkLen = 1024

// slab holds things without pointers under numbers from 1, in chunks that never move once they are full: it grows
// without copying what it holds, and the garbage collector has nothing to look through. The first chunk grows from
// nothing, since most sites are small.
type slab[T any] struct {
	chunks [][]T
	free   []uint32 // numbers that are used again
	bytes  int      // of all chunks and of free
}

// at returns the thing of a number. It holds until the next take.
func (s *slab[T]) at(n uint32) *T { return &s.chunks[(n-1)/chunkLen][(n-1)%chunkLen] }

// len returns how many things are held.
func (s *slab[T]) len() int { return s.end() - len(s.free) }

// end returns the highest number that was ever given.
func (s *slab[T]) end() int {
	if len(s.chunks) == 0 {
		return 0
	}
	last := len(s.chunks) - 1
	return last*chunkLen + len(s.chunks[last])
}

// take returns the number of a thing that is zero.
func (s *slab[T]) take() uint32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		return n
	}
	last := len(s.chunks) - 1
	switch {
	case last < 0 || len(s.chunks[last]) == chunkLen:
		room := chunkLen
		if last < 0 {
			room = 4
		}
		s.chunks = append(s.chunks, make([]T, 0, room))
		last++
		s.bytes += room * s.size()
	case len(s.chunks[last]) == cap(s.chunks[last]):
		old := s.chunks[last]
		s.chunks[last] = make([]T, len(old), min(2*len(old), chunkLen))
		copy(s.chunks[last], old)
		clear(old)
		s.bytes += (cap(s.chunks[last]) - len(old)) * s.size()
	}
	s.chunks[last] = s.chunks[last][:len(s.chunks[last])+1]
	return uint32(s.end())
}

// give overwrites a thing and keeps its number for the next one.
func (s *slab[T]) give(n uint32) {
	*s.at(n) = *new(T)
	before := cap(s.free)
	s.free = append(s.free, n)
	s.bytes += (cap(s.free) - before) * int(unsafe.Sizeof(n))
}

func (s *slab[T]) size() int { return int(unsafe.Sizeof(*new(T))) }

// wipe overwrites everything.
func (s *slab[T]) wipe() {
	for _, c := range s.chunks {
		clear(c[:cap(c)])
	}
	*s = slab[T]{}
}
