package tracker

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"time"

	"dachs/storage"
	"dachs/tracker/visit"
)

// A state is what a tracker knows of today's visitors, for the next process to go on with. It consists of
//
//	stateMagic, the length of the days (8 bytes, big-endian), their SHA-256, the days (gob), a key for each day
//
// Keys stand apart, so that they go straight from their own memory into the file and back, and no buffer gets a copy.
const stateMagic = "dachs state 1\n"

// maxState bounds the days of a state, in bytes: more than the tables of several sites whose Budget is used up.
const maxState = 4 * visit.Budget

// savedDay is the present day of one site.
type savedDay struct {
	Site     uint32
	Domain   string
	Zone     string
	Day      storage.Day
	Opened   time.Time
	OpenedAt time.Duration // see Options.Uptime
	Table    *visit.State[Attributes, Origin]
}

// Save writes the state. It holds the keys of today's visitors: w must be memory and nothing else. Close destroys them
// here. No Serve may be under way.
func (t *Tracker) Save(w io.Writer) error {
	var days []savedDay
	var keys [][]byte
	now := t.now()
	t.lives.Range(func(_, v any) bool {
		l := v.(*live)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.book.expire(now)
		for _, d := range l.book.days {
			if d.blind || l.book.age(d, now) >= maxAge {
				continue
			}
			s := l.book.site
			days = append(days, savedDay{s.ID, s.Domain, s.TimeZone, d.day, d.opened, d.openedAt, d.table.State()})
			keys = append(keys, d.key)
		}
		return true
	})
	var text bytes.Buffer
	if err := gob.NewEncoder(&text).Encode(days); err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	head := binary.BigEndian.AppendUint64([]byte(stateMagic), uint64(text.Len()))
	sum := sha256.Sum256(text.Bytes())
	for _, part := range append([][]byte{append(head, sum[:]...), text.Bytes()}, keys...) {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("write state: %w", err)
		}
	}
	return nil
}

// Resume reads a state and goes on with the days in it that are not over, and returns how many these are. An error says that
// the state cannot be used: then every site's day begins anew. It must be called before Serve.
func (t *Tracker) Resume(r io.Reader) (days int, err error) {
	saved, err := readState(r)
	if err != nil {
		return 0, fmt.Errorf("read state: %w", err)
	}
	for i := range saved {
		ok, err := t.resume(&saved[i], r)
		if err != nil {
			return days, fmt.Errorf("read state: %w", err)
		}
		if ok {
			days++
		}
	}
	return days, nil
}

func readState(r io.Reader) ([]savedDay, error) {
	head := make([]byte, len(stateMagic)+8+sha256.Size)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint64(head[len(stateMagic):])
	if string(head[:len(stateMagic)]) != stateMagic || size > maxState {
		return nil, errors.New("it is of another version")
	}
	var text bytes.Buffer // grows with what is really there
	if n, err := io.CopyN(&text, r, int64(size)); err != nil {
		return nil, fmt.Errorf("it ends after %d of %d bytes", n, size)
	}
	if sha256.Sum256(text.Bytes()) != [sha256.Size]byte(head[len(stateMagic)+8:]) {
		return nil, errors.New("it is damaged")
	}
	var saved []savedDay
	if err := gob.NewDecoder(&text).Decode(&saved); err != nil {
		return nil, err
	}
	return saved, nil
}

// resume goes on with one day, whose key is read from r, unless it is over or its site is not what it was.
func (t *Tracker) resume(s *savedDay, r io.Reader) (ok bool, err error) {
	key, release, err := t.secrets.Fill(r)
	if err != nil {
		return false, err
	}
	defer func() {
		if !ok {
			release()
		}
	}()
	site, known := t.store.Site(s.Domain)
	if !known || site.ID != s.Site || site.TimeZone != s.Zone || s.Table == nil {
		return false, nil
	}
	now := t.now()
	if s.Day != storage.DayOf(now.In(site.Location())) || now.Before(s.Opened) || now.Sub(s.Opened) >= maxAge ||
		t.uptime() < s.OpenedAt || t.uptime()-s.OpenedAt >= maxAge {
		return false, nil
	}
	table, err := visit.Resume(key, s.Table)
	if err != nil {
		return false, err
	}
	d := &bookDay{day: s.Day, table: table, key: key, release: release, opened: s.Opened, openedAt: s.OpenedAt, caps: newCaps(&t.limits)}
	d.unread = d.caps.read(t.store, site.ID, s.Day)
	l := t.live(site)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.book.Close() // nothing, unless a state names a site twice
	l.book.days = []*bookDay{d}
	return true, nil
}
