package storage

import (
	"fmt"
	"maps"
	"sync"

	"github.com/dgraph-io/badger/v4"
)

// merges knows which partitions may have runs to merge. Partitions that are one coarse run are not in it: with many
// sites and days they are nearly all.
type merges struct {
	wake chan struct{} // capacity 1

	mu       sync.Mutex         // guards the following
	added    map[partition]int  // runs that were added since the partition was last looked at
	watched  map[partition]bool // partitions that will be due when a day comes; true if they are one closed run that is to become coarse
	due      map[partition]bool
	failed   map[partition]bool // due again when ripen is called next
	busy     bool               // what is due is being merged, or old versions are being purged
	stale    bool               // what merges and removals have left behind is to be purged
	hurry    bool               // purge as soon as nothing is due
	expire   map[uint32]bool    // sites whose old days are to be let go now
	unpurged error              // why the last purge has failed
	months   map[uint32]bool    // sites whose months may have changed
}

// load finds the partitions of the store that are not one coarse run.
func (m *merges) load(db *DB) error {
	m.wake = make(chan struct{}, 1)
	m.added = make(map[partition]int)
	m.watched = make(map[partition]bool)
	m.due = make(map[partition]bool)
	m.failed = make(map[partition]bool)
	m.months = make(map[uint32]bool)
	m.expire = make(map[uint32]bool)
	for _, s := range db.Sites() {
		m.months[s.ID] = true
	}
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixHeader}})
		defer it.Close()
		var last partition
		for it.Rewind(); it.Valid(); it.Next() {
			ref, err := parseHeaderKey(it.Item().Key())
			if err != nil {
				return fmt.Errorf("key %x: %w", it.Item().Key(), err)
			}
			p := ref.partition()
			switch {
			case p.table != p.table.base():
			case p == last || ref.level < closedLevel:
				m.due[p] = true
				delete(m.watched, p)
			case ref.level == closedLevel:
				m.watched[p] = true
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

// note notes new runs. Whether their partition is worth a merge is looked at when there are enough of them, or when
// its day is over.
func (m *merges) note(refs []runRef) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ref := range refs {
		p := ref.partition()
		m.watched[p] = false
		m.added[p]++
		if m.added[p] >= mergeFanIn {
			m.due[p] = true
		}
	}
	if len(m.due) > 0 {
		m.signal()
	}
}

// noteFresh notes partitions that have got something in memory, and those that have some of it to write.
func (m *merges) noteFresh(seen, due []partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range seen {
		m.watched[p] = false
	}
	for _, p := range due {
		m.due[p] = true
		m.signal()
	}
}

// ripen makes the watched partitions due whose day has come.
func (m *merges) ripen(come func(p partition, closed bool) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, closed := range m.watched {
		if come(p, closed) {
			m.due[p] = true
			delete(m.watched, p)
		}
	}
	maps.Copy(m.due, m.failed)
	clear(m.failed)
	if len(m.due) > 0 {
		m.signal()
	}
}

// next takes a partition that is due. ok is false if none is; then nothing is being merged any more.
func (m *merges) next() (p partition, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p = range m.due {
		delete(m.due, p)
		delete(m.added, p)
		m.busy = true
		return p, true
	}
	m.busy = false
	return p, false
}

// again makes a partition due once more.
func (m *merges) again(p partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due[p] = true
	m.signal()
}

// later makes a partition due when ripen is called next: what cannot be merged must not keep all else from it.
func (m *merges) later(p partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed[p] = true
}

// watch keeps a partition in sight until its day comes.
func (m *merges) watch(p partition, closed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.watched[p]; !ok { // new runs may have come meanwhile
		m.watched[p] = closed
	}
}

// forget drops all partitions of a site.
func (m *merges) forget(site uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	of := func(p partition) bool { return p.site == site }
	maps.DeleteFunc(m.due, func(p partition, _ bool) bool { return of(p) })
	maps.DeleteFunc(m.failed, func(p partition, _ bool) bool { return of(p) })
	maps.DeleteFunc(m.watched, func(p partition, _ bool) bool { return of(p) })
	maps.DeleteFunc(m.added, func(p partition, _ int) bool { return of(p) })
}

// left notes that old versions are to be purged, with hurry as soon as nothing is due.
func (m *merges) left(hurry bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stale = true
	if hurry {
		m.hurry = true
		m.signal()
	}
}

// resumePurge asks for the purge that was put off, if one was.
func (m *merges) resumePurge() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stale {
		m.hurry = true
		m.signal()
	}
}

// purged notes how a purge has ended. One that failed is tried again when it is time, and not because somebody waits.
func (m *merges) purged(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unpurged = err
	m.stale = m.stale || err != nil
}

// failure tells why the last purge has failed, if it has, and forgets it.
func (m *merges) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.unpurged
	m.unpurged = nil
	return err
}

// letGo asks for the old days of a site to be let go now.
func (m *merges) letGo(site uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire[site] = true
	m.signal()
}

// noteMonths notes that the months of a site may have changed. They are looked at when nothing is due.
func (m *merges) noteMonths(site uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.months[site] = true
}

// takeMonths takes a site whose months are to be looked at. Then it is busy until the next next.
func (m *merges) takeMonths() (site uint32, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for site = range m.months {
		delete(m.months, site)
		m.busy = true
		m.signal()
		return site, true
	}
	return 0, false
}

// takeExpire returns the sites for which somebody has asked for that. Then it is busy until the next next.
func (m *merges) takeExpire() map[uint32]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	sites := m.expire
	if len(sites) > 0 {
		m.expire, m.busy = make(map[uint32]bool), true
	}
	return sites
}

// takePurge reports whether to purge now: somebody waits for it, or it is time again. Then it is busy until the next next.
func (m *merges) takePurge(again bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stale || !again && !m.hurry {
		return false
	}
	m.stale, m.hurry, m.busy = false, false, true
	return true
}

// settled reports whether nothing is due or being merged, and with purged also that nothing is to be purged.
func (m *merges) settled(purged bool) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if purged && m.stale && !m.hurry {
		m.hurry = true
		m.signal()
	}
	return len(m.due) == 0 && len(m.months) == 0 && !m.busy && len(m.expire) == 0 && !(purged && m.stale)
}
