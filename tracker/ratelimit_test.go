package tracker

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dachs/storage"
)

var limitStart = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

// allowed sends hits from one address at one moment, and returns how many pass.
func allowed(l *limiter, site uint32, addr string, at time.Time, hits int) (n int) {
	for range hits {
		if l.allow(site, netip.MustParseAddr(addr), at) {
			n++
		}
	}
	return n
}

func TestLimiter(t *testing.T) {
	l := newLimiter(10, limitStart)
	at := func(d time.Duration) time.Time { return limitStart.Add(d) }
	for _, step := range []struct {
		addr string
		site uint32
		at   time.Duration
		want int
	}{
		{"192.0.2.1", 1, 0, 60}, // the burst
		{"192.0.2.1", 2, 0, 60}, // of each site,
		{"192.0.2.2", 1, 0, 60}, // of each address,
		{"2001:db8::1", 1, 0, 60},
		{"2001:db8::ffff:2", 1, 0, 0}, // of an IPv6 /64
		{"2001:db8:0:1::1", 1, 0, 60},
		{"192.0.2.1", 1, 0, 0},
		{"::ffff:192.0.2.1", 1, 0, 0},
		{"192.0.2.1", 1, 99 * time.Millisecond, 0},
		{"192.0.2.1", 1, time.Second, 10}, // then ten a second
		{"192.0.2.1", 1, time.Second, 0},
		{"192.0.2.1", 1, 3 * time.Second, 20},
		{"192.0.2.1", 1, time.Hour, 60},            // and it is full again
		{"192.0.2.1", 1, 30 * time.Minute, 60},     // the clock goes back: nobody is locked out
		{"192.0.2.1", 1, -time.Hour, 60},           //
		{"192.0.2.1", 1, 48 * 365 * time.Hour, 60}, // two years later
	} {
		if got := allowed(l, step.site, step.addr, at(step.at), 100); got != step.want {
			t.Errorf("%s at %s: %d hits pass, want %d", step.addr, step.at, got, step.want)
		}
	}
	for _, addr := range []string{"127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "100.64.0.1", "fd00::1", "fe80::1", "0.0.0.0"} {
		if got := allowed(l, 1, addr, limitStart, 1000); got != 1000 {
			t.Errorf("%s: %d of 1000 hits pass", addr, got)
		}
	}
	if got := allowed(newLimiter(0, limitStart), 1, "192.0.2.1", limitStart, 1000); got != 1000 {
		t.Errorf("without a limit %d of 1000 hits pass", got)
	}
}

// TestLimiterForgets floods the limiter with more addresses than it has room for: memory stays as it is, nobody is refused
// at the first hit, and whoever is remembered stays limited.
func TestLimiterForgets(t *testing.T) {
	l := newLimiter(10, limitStart)
	refused := 0
	for i := range 4 * limitSlots {
		addr := netip.AddrFrom4([4]byte{byte(i>>16) + 20, byte(i >> 8), byte(i), 1})
		if !l.allow(1, addr, limitStart.Add(time.Duration(i)*time.Microsecond)) {
			refused++
		}
	}
	// Two addresses share a bucket if they have the same mark in the same set, which is 8 in 65,536; a bucket has 60.
	if refused > 0 {
		t.Errorf("%d first hits are refused", refused)
	}
	if len(l.slots) != limitSlots {
		t.Errorf("%d slots", len(l.slots))
	}
	if n := allowed(l, 1, "192.0.2.1", limitStart.Add(time.Second), 100); n != 60 {
		t.Errorf("after the flood %d of 100 hits pass", n)
	}
}

// TestLimiterKeepsNothing: seconds after its last hit, nothing tells that an address was here.
func TestLimiterKeepsNothing(t *testing.T) {
	l := newLimiter(10, limitStart)
	left := func() (n int) {
		for i := range l.slots {
			if l.slots[i].Load() != 0 {
				n++
			}
		}
		return n
	}
	allowed(l, 1, "192.0.2.1", limitStart, 100)
	allowed(l, 1, "192.0.2.2", limitStart, 1)
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{0, 2}, {time.Second, 1}, {5 * time.Second, 1}, {6 * time.Second, 0}} {
		l.forget(limitStart.Add(step.at))
		if n := left(); n != step.want {
			t.Errorf("after %s there are marks of %d addresses, want %d", step.at, n, step.want)
		}
	}
	allowed(l, 1, "192.0.2.1", limitStart.Add(time.Hour), 1)
	if l.forget(limitStart); left() != 0 {
		t.Error("a clock that goes back keeps a mark")
	}
}

// TestLimiterUnderLoad lets goroutines send at one moment: no hit too many passes.
func TestLimiterUnderLoad(t *testing.T) {
	l := newLimiter(100, limitStart)
	var passed atomic.Int64
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { passed.Add(int64(allowed(l, 1, "192.0.2.1", limitStart, 500))) })
	}
	all.Wait()
	// Who meets others again and again is let through rather than held up; that is rare.
	if n := passed.Load(); n < 600 || n > 610 {
		t.Errorf("%d hits pass, want 600", n)
	}
}

func TestLimiterTakesNoMemory(t *testing.T) {
	l, addr := newLimiter(10, limitStart), netip.MustParseAddr("2001:db8::1")
	if n := testing.AllocsPerRun(100, func() { l.allow(1, addr, limitStart) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := newLimiter(10, limitStart)
	i := 0
	for b.Loop() {
		i++
		l.allow(1, netip.AddrFrom4([4]byte{20, byte(i >> 16), byte(i >> 8), byte(i)}), limitStart)
	}
}

// TestRateLimit floods one site from one address over HTTP, beside a visitor, a token and a network without a name.
func TestRateLimit(t *testing.T) {
	c := newCounting(t)
	c.tracker.limiter = newLimiter(1, c.clock())
	_, token, err := c.db.CreateToken(c.site.ID, storage.ScopeCount)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		c.hit(strings.Replace(homeView, ".com/", fmt.Sprintf(".com/%d", i), 1))
	}
	c.expectOutcomes(map[Reason]uint64{Accepted: limitBurst, RateLimited: 10 - limitBurst})
	c.hit(homeView, "X-Forwarded-For: 192.0.2.2")
	c.hit(homeView, "Authorization: Bearer "+token)
	c.hit(homeView, googler) // takes nothing from the bucket
	c.wait(time.Second)
	c.hit(homeView)
	c.expectOutcomes(map[Reason]uint64{Accepted: limitBurst + 3, RateLimited: 10 - limitBurst, Bot: 1})
	if got := c.refusals(); got["rate_limited"] != 10-limitBurst || got["bot"] != 1 {
		t.Errorf("refusals are %v", got)
	}
}
