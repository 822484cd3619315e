package tracker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"dachs/storage"
)

// restart closes the tracker and goes on with another one, which has what the first one saved and someone did to that.
func (a *aging) restart(change func(state []byte) []byte) (days int, err error) {
	a.t.Helper()
	var state bytes.Buffer
	if err := a.tracker.Save(&state); err != nil {
		a.t.Fatal(err)
	}
	if err := a.tracker.Close(); err != nil {
		a.t.Fatal(err)
	}
	old := a.tracker
	if a.tracker, err = New(Options{Store: a.db, Now: a.clock, TrustedProxies: old.proxies.networks, Uptime: old.uptime, Logger: old.log}); err != nil {
		a.t.Fatal(err)
	}
	return a.tracker.Resume(bytes.NewReader(change(state.Bytes())))
}

func asIs(state []byte) []byte { return state }

func TestRestartGoesOn(t *testing.T) {
	a := newAging(t)
	a.hit(aView)
	a.hit(aView, otherClient)
	for n := range 3 {
		if days, err := a.restart(asIs); days != 1 || err != nil {
			t.Fatalf("%d days go on: %v", days, err)
		}
		a.pass(time.Minute, time.Minute)
		a.hit(aView)
		a.hit(anEvent, otherClient)
		a.expect([4]int{2, 2, 3 + n, 4 + 2*n})
	}
	a.hit(aView, "X-Forwarded-For: 192.0.2.3")
	a.expect([4]int{3, 3, 6, 9})
	a.noNegative()
}

// Twice the same stream, once with restarts in it: what is stored is the same.
func TestRestartsChangeNothing(t *testing.T) {
	var all [2]map[string][4]int
	for i := range all {
		a := newAging(t)
		r := rand.New(rand.NewPCG(3, 3))
		for range 200 {
			a.pass(time.Duration(r.IntN(600))*time.Second, time.Duration(r.IntN(60))*time.Second)
			client := fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", 1+r.IntN(9))
			a.hit(strings.ReplaceAll([]string{aView, aView, anEvent, anEngaged}[r.IntN(4)], "/a", fmt.Sprint("/", r.IntN(3))), client)
			if stop := r.IntN(20) == 0; stop && i == 1 {
				if _, err := a.restart(asIs); err != nil {
					t.Fatal(err)
				}
			}
		}
		all[i] = a.counts(storage.Path)
		for path, n := range a.counts(storage.Entry) {
			all[i]["entry "+path] = n
		}
	}
	if fmt.Sprint(all[0]) != fmt.Sprint(all[1]) || len(all[0]) < 6 {
		t.Errorf("without restarts %v, with them %v", all[0], all[1])
	}
}

// A state is used on its day and by its site, and only for as long as a day may be.
func TestStateIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		between func(a *aging)
		days    int
	}{
		"at once":                   {func(*aging) {}, 1},
		"after midnight":            {func(a *aging) { a.wait(11 * time.Hour) }, 0},
		"before it was made":        {func(a *aging) { a.wait(-time.Hour) }, 0},
		"too old":                   {func(a *aging) { a.uptime.Add(int64(maxAge)) }, 0},
		"of another start":          {func(a *aging) { a.uptime.Store(1) }, 0},
		"of a site that is gone":    {func(a *aging) { mustDo(a.t, a.db.RemoveSite("example.com")) }, 0},
		"of a site that came again": {func(a *aging) { mustDo(a.t, a.db.RemoveSite("example.com")); a.add("Europe/Berlin") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAging(t)
			a.hit(aView)
			days, err := a.restart(func(state []byte) []byte { tt.between(a); return state })
			if days != tt.days || err != nil {
				t.Errorf("%d days go on: %v; want %d", days, err, tt.days)
			}
		})
	}
}

func (a *aging) add(zone string) {
	_, err := a.db.AddSite("example.com", zone)
	mustDo(a.t, err)
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestDamagedStateBeginsAnew(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"empty":           func(s []byte) []byte { return nil },
		"cut in the head": func(s []byte) []byte { return s[:20] },
		"cut in the days": func(s []byte) []byte { return s[:len(s)/2] },
		"cut in the key":  func(s []byte) []byte { return s[:len(s)-1] },
		"no key":          func(s []byte) []byte { return s[:len(s)-32] },
		"other version":   func(s []byte) []byte { s[len(stateMagic)-2]++; return s },
		"a bit":           func(s []byte) []byte { s[len(s)/2] ^= 1; return s },
		"endless":         func(s []byte) []byte { binary.BigEndian.PutUint64(s[len(stateMagic):], 1<<62); return s },
		"longer":          func(s []byte) []byte { binary.BigEndian.PutUint64(s[len(stateMagic):], 1<<20); return s },
	} {
		t.Run(name, func(t *testing.T) {
			a := newAging(t)
			a.hit(aView)
			if days, err := a.restart(change); days != 0 || err == nil {
				t.Errorf("%d days go on: %v", days, err)
			}
			a.hit(aView)
			a.expect([4]int{2, 2, 2, 2})
		})
	}
}

// A day that tells nobody apart has nothing to hand over.
func TestBlindDayIsNotSaved(t *testing.T) {
	a := newAging(t)
	a.hit(aView)
	a.pass(0, maxAge)
	a.uptime.Add(-int64(maxAge)) // it stays blind, whatever a clock says later
	if days, err := a.restart(asIs); days != 0 || err != nil {
		t.Errorf("%d days go on: %v", days, err)
	}
}
