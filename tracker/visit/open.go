package visit

// visit is an open visit, or one that has ended and was not let go yet.
type visit struct {
	of     ID
	start  int32 // milliseconds after the table's base
	end    int32
	place  place
	views  uint32
	events uint32
	pages  uint32 // number of the page that it saw first most lately
	hours  uint32 // clock hours in which the hostname of its place was seen, as bits: what is known of it needs no look
	number uint8  // of the visitor's visits; 0: nothing is held here
	hour   uint8  // clock hour of its first hit
	active bool   // an interactive event happened
}

// page is a page of an open visit.
type page struct {
	tag uint32 // of its thing; 0: nothing is held here
	// Until when time in use is accounted for, in milliseconds after the table's base: from the first view in the visit
	// on, moved by what engagements claim.
	claimed int32
	next    uint32 // the page that the visit saw first before this one
	scroll  int8   // deepest position, percent; -1 if unknown
}

// tag tells the pages of ended visits from those that have got their number.
func (t thing) tag() uint32 { return uint32(t>>32) | 1 }

const (
	// foldAfter is how long a visit has to be idle until it is let go, in milliseconds. It ends after half of that; but
	// logs are not strictly in order, and a hit from some minutes ago may still be of it.
	foldAfter = 2 * Timeout * 1000
	// foldStep is how many visits are looked at when one begins. With four of them the ended ones that are still held are
	// a third of the others at most.
	foldStep = 4
)

// since returns a time as the table holds it. A table is of one day; what is some weeks away is clamped.
func (t *Table[A, O]) since(at int64) int32 {
	return int32(min(max(at-t.base, -1<<31), 1<<31-1))
}

// over reports whether a hit at a time begins the next visit. Logs are not strictly in order: a hit from
// shortly before is of the visit too.
func (s *visit) over(at int32) bool {
	return int64(at)-int64(s.end) > Timeout*1000 || int64(s.start)-int64(at) > Timeout*1000
}

// open returns the visitor's open visit, nil if it was let go.
func (t *Table[A, O]) open(v *visitor) *visit {
	if v.open == 0 {
		return nil
	}
	return t.visits.at(v.open)
}

// fold lets some visits go that have ended: of them only what the visitor is booked with stays. It looks at the next n
// visits, round and round.
func (t *Table[A, O]) fold(n int, now int32) {
	end := uint32(t.visits.end())
	for range min(n, int(end)) {
		t.hand = t.hand%end + 1
		s := t.visits.at(t.hand)
		if s.number == 0 || int64(now)-int64(s.end) <= foldAfter {
			continue
		}
		if number := t.visitors.find(s.of); number != 0 {
			if v := t.visitors.at(number); v.open == t.hand {
				v.keepFirst(s)
				v.open = 0
			}
		}
		t.endVisit(t.hand)
	}
}

// Fold lets go what visits need that have ended long before a time, in Unix milliseconds. Record does that too, as new
// visits come.
func (t *Table[A, O]) Fold(now int64) { t.fold(t.visits.end(), t.since(now)) }

// endVisit lets a visit and its pages go.
func (t *Table[A, O]) endVisit(number uint32) {
	for n := t.visits.at(number).pages; n != 0; {
		next := t.pages.at(n).next
		t.pages.give(n)
		n = next
	}
	t.visits.give(number)
}

// keepFirst notes under what the first visit is booked, if s is that.
func (v *visitor) keepFirst(s *visit) {
	if s.number == 1 {
		v.first, v.hour = s.place, s.hour
	}
}

// pageOf returns the page of something seen in the visitor's open visit, 0 if it was not a page seen there.
func (t *Table[A, O]) pageOf(v *visitor, s *seen) uint32 {
	if s == nil || v.open == 0 || s.page == 0 || s.visit() != v.visits || t.pages.at(s.page).tag != s.thing.tag() {
		return 0
	}
	return s.page
}

// dropPage takes a page out of a visit.
func (t *Table[A, O]) dropPage(s *visit, number uint32) {
	for at := &s.pages; *at != 0; at = &t.pages.at(*at).next {
		if *at == number {
			*at = t.pages.at(number).next
			t.pages.give(number)
			return
		}
	}
}
