package tracker

import (
	"fmt"
	"testing"
	"time"

	"dachs/storage"
)

// TestRestartWithoutStateIsNoted restarts with what was saved, without it, and on the next day.
func TestRestartWithoutStateIsNoted(t *testing.T) {
	a := newAging(t)
	noted := func() string {
		t.Helper()
		if err := a.tracker.notes.store(a.db); err != nil {
			t.Fatal(err)
		}
		today := storage.DayOf(a.clock().In(a.site.Location()))
		days, err := a.db.Notes(t.Context(), a.site.ID, storage.KindParts, today-9, today)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(days)
	}
	nothing := func([]byte) []byte { return nil }
	first := storage.DayOf(a.clock().In(a.site.Location()))
	none := "map[]"
	a.hit(aView)
	if got := noted(); got != none {
		t.Errorf("the first hit of all: %s", got)
	}
	if _, err := a.restart(asIs); err != nil {
		t.Fatal(err)
	}
	a.hit(aView)
	if got := noted(); got != none {
		t.Errorf("after a restart that knows the visitors: %s", got)
	}
	_, _ = a.restart(nothing) // an empty state is an error that the server logs
	if got := noted(); got != none {
		t.Errorf("before there is a hit: %s", got)
	}
	a.hit(aView)
	a.hit(aView, otherClient)
	want := fmt.Sprintf("map[%v:map[restart:1]]", first)
	if got := noted(); got != want {
		t.Errorf("after a restart that knows nobody: %s, want %s", got, want)
	}
	a.pass(24*time.Hour, 24*time.Hour)
	_, _ = a.restart(nothing)
	a.hit(aView)
	if got := noted(); got != want {
		t.Errorf("after a restart on a new day: %s, want %s", got, want)
	}
}
