package storage

import (
	"fmt"
	"maps"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// merges knows which partitions may have runs to merge. Partitions that are one closed run are not in it: with many
// sites and days they are nearly all.
type merges struct {
	wake chan struct{} // capacity 1

	mu      sync.Mutex        // guards the following
	added   map[partition]int // runs that were added since the partition was last looked at
	due     map[partition]bool
	merging bool // the partition that next returned last is still being merged
}

// load finds the partitions of the store that are not one closed run.
func (m *merges) load(db *DB) error {
	m.wake = make(chan struct{}, 1)
	m.added = make(map[partition]int)
	m.due = make(map[partition]bool)
	var last partition
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixHeader}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			ref, err := parseHeaderKey(it.Item().Key())
			if err != nil {
				return fmt.Errorf("key %x: %w", it.Item().Key(), err)
			}
			p := ref.partition()
			if p.table != p.table.base() {
				continue
			}
			if ref.level != closedLevel || p == last {
				m.due[p] = true
			}
			last = p
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read run headers: %w", err)
	}
	m.signal()
	return nil
}

func (m *merges) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// note notes new runs. Whether their partition is worth a merge is looked at when there are enough of them.
func (m *merges) note(refs []runRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ref := range refs {
		p := ref.partition()
		m.added[p]++
		if m.added[p] >= mergeFanIn {
			m.due[p] = true
		}
	}
	if len(m.due) > 0 {
		m.signal()
	}
}

// closed makes the partitions due whose day is over and that have been added to.
func (m *merges) closed(over func(partition) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.added {
		if over(p) {
			m.due[p] = true
		}
	}
	if len(m.due) > 0 {
		m.signal()
	}
}

// next takes a partition that is due.
func (m *merges) next() (p partition, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p = range m.due {
		delete(m.due, p)
		delete(m.added, p)
		m.merging = true
		return p, true
	}
	return p, false
}

// again makes a partition due once more.
func (m *merges) again(p partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due[p] = true
	m.signal()
}

// watch keeps a partition in sight until its day is over.
func (m *merges) watch(p partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.added[p] == 0 {
		m.added[p] = 1
	}
}

// forget drops all partitions of a site.
func (m *merges) forget(site uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := func(p partition) bool { return p.site == site }
	maps.DeleteFunc(m.due, func(p partition, _ bool) bool { return of(p) })
	maps.DeleteFunc(m.added, func(p partition, _ int) bool { return of(p) })
}

// busy reports whether a partition is due or being merged.
func (m *merges) busy() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.due) > 0 || m.merging
}

// idle notes that a merge is done.
func (m *merges) idle() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.merging = false
}
