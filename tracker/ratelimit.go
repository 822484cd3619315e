package tracker

import (
	"encoding/binary"
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// limitSlots is how many addresses the limiter remembers at a time, over all sites; 8 bytes each. Who is forgotten
	// begins anew, so a flood from more addresses than this is limited less, and nobody is limited more.
	limitSlots = 1 << 16
	// limitWays is how many places an address may have: a set of them is one cache line.
	limitWays = 8
	// limitBurst is how many seconds' worth of hits may come at once: whoever opens a dozen tabs is no flood.
	limitBurst = 6
	// limitTimeBits is what the time takes of a slot, in microseconds: enough for eight years without a restart.
	limitTimeBits = 48
)

// limiter bounds how many hits of one client a site takes: a token bucket for each site and address, of IPv6 the /64 that a
// household or a server has. It lives in memory only, holds no address but 16 bits of a hash under a random key, and forgets
// them seconds after the last hit. Many goroutines may use it. The nil limiter limits nothing.
type limiter struct {
	seed     maphash.Seed
	start    time.Time
	interval uint64 // microseconds that a hit takes from the bucket
	window   uint64 // microseconds that a full bucket holds
	slots    []atomic.Uint64
}

// newLimiter makes a limiter for so many hits a second, and limitBurst times as many at once. 0 is none.
func newLimiter(perSecond int, start time.Time) *limiter {
	if perSecond <= 0 {
		return nil
	}
	interval := max(uint64(time.Second/time.Microsecond)/uint64(perSecond), 1)
	return &limiter{
		seed: maphash.MakeSeed(), start: start, interval: interval, window: interval * uint64(perSecond) * limitBurst,
		slots: make([]atomic.Uint64, limitSlots),
	}
}

// allow takes a hit from the bucket of a client, or returns false if that is empty.
//
// A slot holds 16 bits of the client's hash, by which it is known again, and the time at which its bucket will be full; so
// nothing has to be done for buckets to fill up. Private addresses are not limited: behind one of them stands a proxy that
// nobody has named in --trusted-proxies, and with it all visitors of a site.
func (l *limiter) allow(site uint32, addr netip.Addr, at time.Time) bool {
	if l == nil || !isPublic(addr) {
		return true
	}
	hash := l.hash(site, addr)
	mark := hash >> limitTimeBits
	first := int(hash%(limitSlots/limitWays)) * limitWays
	set := l.slots[first : first+limitWays]
	now := uint64(max(at.Sub(l.start).Microseconds(), 0))
	for range limitWays { // again if another hit of the same set comes in between
		slot, old, full := find(set, mark, now)
		if full > now+l.window { // the clock has gone back
			full = now
		}
		if full+l.interval > now+l.window {
			return false
		}
		if slot.CompareAndSwap(old, mark<<limitTimeBits|(full+l.interval)&(1<<limitTimeBits-1)) {
			return true
		}
	}
	return true
}

// find returns the slot of a client, or that of the one who is closest to being forgotten: whose bucket is full first.
func find(set []atomic.Uint64, mark, now uint64) (slot *atomic.Uint64, old, full uint64) {
	oldest, oldestFull := 0, ^uint64(0)
	for i := range set {
		v := set[i].Load()
		until := v & (1<<limitTimeBits - 1)
		if v>>limitTimeBits == mark && v != 0 {
			return &set[i], v, max(until, now)
		}
		if until < oldestFull {
			oldest, oldestFull, old = i, until, v
		}
	}
	return &set[oldest], old, now
}

// forget empties the slots of buckets that are full: they say nothing but that somebody was here, which is not to be known
// later. It has to be called every few seconds, with the time that allow is called with.
func (l *limiter) forget(at time.Time) {
	if l == nil {
		return
	}
	now := uint64(max(at.Sub(l.start).Microseconds(), 0))
	for i := range l.slots {
		slot := &l.slots[i]
		v := slot.Load()
		until := v & (1<<limitTimeBits - 1)
		if v != 0 && (until <= now || until > now+l.window) { // beyond the window: the clock has gone back
			slot.CompareAndSwap(v, 0) // if a hit has come meanwhile it stays
		}
	}
}

func (l *limiter) hash(site uint32, addr netip.Addr) uint64 {
	var b [13]byte
	binary.LittleEndian.PutUint32(b[:], site)
	if addr = addr.Unmap(); addr.Is4() {
		ip := addr.As4()
		copy(b[4:], ip[:])
		b[12] = 4
	} else {
		ip := addr.As16()
		copy(b[4:], ip[:8])
		b[12] = 6
	}
	// The lowest bits choose the set and the highest are the mark.
	return maphash.Bytes(l.seed, b[:])
}

// sharedSpace are the addresses between providers and their customers (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// isPublic tells whether an address is one of the internet.
func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsGlobalUnicast() && !addr.IsPrivate() && !sharedSpace.Contains(addr)
}
