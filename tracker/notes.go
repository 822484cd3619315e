package tracker

import (
	"errors"
	"slices"
	"sync"
	"time"

	"dachs/storage"
)

const (
	// noteEvery is how often notes are stored: a kill loses those of the last seconds. A commit for each refused hit would let
	// whoever is refused write to the disk as fast as he can send.
	noteEvery = 5 * time.Second
	// maxNotes bounds the notes that wait for a store that cannot be written. They are of known sites and of closed lists of
	// names, so it takes thousands of sites to reach this; what is new after that is only in the metrics.
	maxNotes = 1 << 16
	// noteRows is how many notes are stored at once, well below what the store takes.
	noteRows = 1 << 10
)

// notes gathers what is told to the owners of sites beside the hits, until it is stored.
type notes struct {
	mu     sync.Mutex
	counts map[noteKey]int64 // guarded by mu
}

type noteKey struct {
	site       uint32
	day        storage.Day
	hour       int
	kind, name string
}

// note adds n to what is told to the owner of a site under a kind and a name, both of a closed list: nothing that a
// visitor has sent may be in them. It is on disk some seconds later; see storage.DB.Notes.
func (t *Tracker) note(site storage.Site, kind, name string, n int64) {
	local := t.now().In(site.Location())
	t.notes.add(noteKey{site.ID, storage.DayOf(local), local.Hour(), kind, name}, n)
}

func (s *notes) add(key noteKey, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.counts[key]; !ok && len(s.counts) >= maxNotes {
		return
	}
	if s.counts == nil {
		s.counts = make(map[noteKey]int64)
	}
	s.counts[key] += n
}

// take empties the notes and returns them as rows.
func (s *notes) take() []storage.Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]storage.Row, 0, len(s.counts))
	for k, n := range s.counts {
		rows = append(rows, storage.NoteRow(k.site, k.day, k.hour, k.kind, k.name, n))
	}
	s.counts = nil
	return rows
}

// store stores the notes. Those that the store refuses wait for the next time.
func (s *notes) store(db *storage.DB) error {
	var errs []error
	for some := range slices.Chunk(s.take(), noteRows) {
		// The rows are the store's until it has answered, but it only reads them.
		if err := db.Append(some...); err != nil {
			errs = append(errs, err)
			s.putBack(some)
		}
	}
	return errors.Join(errs...)
}

func (s *notes) putBack(rows []storage.Row) {
	for i := range rows {
		r := &rows[i]
		d := &r.Dims
		hour := int(d[storage.Hour][0]-'0')*10 + int(d[storage.Hour][1]-'0')
		s.add(noteKey{r.Site, r.Day, hour, d[storage.Kind], d[storage.Name]}, r.Sums[storage.Count])
	}
}

// keepNotes stores notes until the tracker stops, and once more then.
func (t *Tracker) keepNotes() {
	tick := time.NewTicker(noteEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = t.notes.store(t.store) // the store logs when it cannot be written
		case <-t.stop:
			if err := t.notes.store(t.store); err != nil {
				t.log.Warn("cannot store how many hits were refused in the last seconds", "error", err)
			}
			return
		}
	}
}
