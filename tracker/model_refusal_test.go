package tracker

import (
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"dachs/storage"
)

// modelRefusals are refusals among the hits of the model, which must change no other number.
type modelRefusals struct {
	*rand.Rand
	want map[storage.Day]map[string]int64
}

// random adds some refusals to rows.
func (m *modelRefusals) random(site uint32, at time.Time, rows []storage.Row) []storage.Row {
	for range m.IntN(4) / 2 {
		day, reason, n := storage.DayOf(at), Reasons()[1+m.IntN(int(reasons)-1)].String(), 1+m.Int64N(3)
		if m.want[day] == nil {
			m.want[day] = make(map[string]int64)
		}
		m.want[day][reason] += n
		rows = append(rows, storage.NoteRow(site, day, at.Hour(), storage.KindRefused, reason, n))
	}
	return rows
}

func (m *modelRefusals) compare(t *testing.T, db *storage.DB, site storage.Site) {
	t.Helper()
	got, err := db.Refusals(t.Context(), site.ID, storage.DateDay(2026, 3, 1), storage.DateDay(2026, 4, 30))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.want) < 2 || !maps.EqualFunc(got, m.want, maps.Equal) {
		t.Errorf("refusals are %v, want %v", got, m.want)
	}
}
