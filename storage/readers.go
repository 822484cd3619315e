package storage

import "sync"

// readers knows who reads, so that one can wait for those who have begun, and nobody else has to wait meanwhile.
type readers struct {
	mu     sync.Mutex // guards the following
	done   sync.Cond  // somebody has left
	era    int
	active [2]int // by the era in which they began
}

// enter notes a reader, and returns what to give to leave.
func (r *readers) enter() (era int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active[r.era]++
	return r.era
}

func (r *readers) leave(era int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active[era]--
	r.done.Broadcast()
}

// await returns once all have left who have entered before. One goroutine at a time may call it, and no reader.
func (r *readers) await() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done.L = &r.mu
	before := r.era
	r.era = 1 - r.era
	for r.active[before] > 0 {
		r.done.Wait()
	}
}
