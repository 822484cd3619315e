// Package secret hands out memory for keys, outside the Go heap where the system allows it: there the garbage collector
// makes no copies, and neither a core dump, nor swap, nor another process, nor (with memfd_secret) the kernel itself
// finds them.
package secret

import (
	"io"
	"os"
	"sync"
)

// Kind says where memory lies, from the weakest on.
type Kind uint8

const (
	// Heap is memory like any other. It can be swapped out, and is left behind in a dump.
	Heap Kind = iota
	// Locked is outside the heap, never swapped out, and, on Linux, neither dumped nor handed on to a child process.
	Locked
	// Hidden is Locked, and taken out of the kernel's own map of the memory (memfd_secret of Linux 5.14, on by default
	// since 6.5), so that nothing but this process can read it: not /proc/PID/mem, not a debugger, not root.
	Hidden
)

func (k Kind) String() string { return [...]string{"heap", "locked", "hidden"}[k] }

// KeySize is the length of a piece in bytes: a key of 256 bits.
const KeySize = 32

// Memory hands out pieces. Its methods may be called from many goroutines. The zero value is ready for use.
type Memory struct {
	mu    sync.Mutex
	avoid bool // for tests: does without kinds above most
	most  Kind // of tests
	pages []*page
}

// page is a page of the system, cut into pieces. A system lets a process lock some hundred pages only, and
// there may be more sites than that.
type page struct {
	bytes []byte
	kind  Kind
	used  []bool
	n     int // of used
}

// Take returns KeySize bytes that are zero, what kind of memory they are in, and a function that overwrites them and gives
// them back. After that they must not be touched: they may not be there any more.
func (m *Memory) Take() (piece []byte, kind Kind, release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.roomy()
	i := 0
	for p.used[i] {
		i++
	}
	p.used[i] = true
	p.n++
	piece = p.bytes[i*KeySize : (i+1)*KeySize : (i+1)*KeySize]
	return piece, p.kind, sync.OnceFunc(func() { m.release(p, i) })
}

// roomy returns a page with room for a piece.
func (m *Memory) roomy() *page {
	for _, p := range m.pages {
		if p.n < len(p.used) {
			return p
		}
	}
	p := m.newPage()
	p.used = make([]bool, len(p.bytes)/KeySize)
	m.pages = append(m.pages, p)
	return p
}

// newPage asks for the best memory that can be had. A system that is too old, a limit that is reached: all that is
// left then is the next best.
func (m *Memory) newPage() *page {
	most := Hidden
	if m.avoid {
		most = m.most
	}
	size := os.Getpagesize()
	if most >= Hidden {
		if b, err := hide(size); err == nil {
			return &page{bytes: b, kind: Hidden}
		}
	}
	if most >= Locked {
		if b, err := lock(size); err == nil {
			return &page{bytes: b, kind: Locked}
		}
	}
	return &page{bytes: make([]byte, size)}
}

func (m *Memory) release(p *page, i int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(p.bytes[i*KeySize : (i+1)*KeySize])
	p.used[i] = false
	if p.n--; p.n > 0 {
		return
	}
	for j, other := range m.pages {
		if other == p {
			m.pages = append(m.pages[:j], m.pages[j+1:]...)
			break
		}
	}
	if p.kind != Heap {
		unmap(p.bytes)
	}
}

// Fill takes a piece and reads random bytes into it, straight from the source: they are nowhere else unless the source
// keeps them.
func (m *Memory) Fill(random io.Reader) (piece []byte, release func(), err error) {
	piece, _, release = m.Take()
	if _, err := io.ReadFull(random, piece); err != nil {
		release()
		return nil, nil, err
	}
	return piece, release, nil
}

// Best returns the kind of memory that Take would hand out now.
func (m *Memory) Best() Kind {
	_, kind, release := m.Take()
	release()
	return kind
}
