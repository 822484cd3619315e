// Package visit knows, in memory only, who is new today and which visit is open.
//
// A Table holds the visitors of one site on one local day. A visitor is known by a keyed number made from the
// client's address and user agent; the key is random, is given to the table when the day begins, and is
// overwritten when it ends, so that nothing that leaves this package can be traced back. What leaves it is a
// Change: which counters a hit raises, in terms of pages and counts. The one exception is State, for the next process.
//
// A visitor of the day takes 44 bytes and 5 to 9 for the index; each page, event or hostname that they saw takes 18 to 37
// until midnight, an open visit 56, and each page of an open visit 16. There are no pointers in any of it.
//
// The package imports nothing that could write, send or encode: a test over its dependencies holds that.
package visit

import "errors"

// Timeout is the longest pause within a visit, in seconds. A hit after a longer one begins the next visit.
const Timeout = 30 * 60

// Budget is how many bytes a Table may take, by its own estimate. Half a million visitors with a few pages each
// have room in it, which is more than any site that one machine serves has on a day; and whoever sends endless
// new pages, events or user agents to use up the machine's memory is stopped at it.
const Budget = 256 << 20

var (
	// ErrNoVisit says that an engagement belongs to no page of an open visit.
	ErrNoVisit = errors.New("no open visit has seen this page")
	// ErrFull says that the table has used up its Budget. It stays so until the day ends.
	ErrFull = errors.New("visits of the day take all the memory that they may")
)

// Kind is the kind of a hit.
type Kind uint8

const (
	PageView Kind = iota
	Event
	Engagement // time and scroll depth of a page already seen: adds to what is there, is no hit of its own
)

// Value is what a Table keeps for its caller and hands back, without looking into it.
type Value interface {
	comparable
	// TextSize returns the bytes of text that the value refers to.
	TextSize() int
}

// Hit is what a Table needs to know of a hit. A holds the attributes of a visitor (country, browser, ...), O
// where a visit came from.
type Hit[A, O Value] struct {
	Kind        Kind
	At          int64 // Unix milliseconds
	Hour        uint8 // site-local clock hour, 0 to 23
	Name        string
	Path        string
	Hostname    string
	Props       string
	Interactive bool  // an event that ends a bounce
	Engaged     int64 // milliseconds that the page says it was in use; only for Engagement
	Scroll      int   // percent, -1 if unknown; only for Engagement
	Attributes  A
	Origin      O
}

// Visit is a visit as it is booked at one moment.
type Visit[O Value] struct {
	Hour      uint8 // clock hour of its first hit
	Entry     string
	Exit      string
	Hostname  string // of its first hit
	Origin    O
	PageViews int64
	Events    int64
	Seconds   int64 // from the first hit to the last hit or engagement, by the clock's seconds
	Bounce    bool  // one page view and no interactive event
}

// Novelty says of what a hit was the first: in its visit, today and in its clock hour, for this visitor.
type Novelty struct{ Visit, Today, Hour bool }

// Change says what one hit changed. Before and FirstBefore are meaningless where NewVisit and NewVisitor are set.
type Change[A, O Value] struct {
	Attributes A // of the visitor's first hit of the day

	NewVisitor bool
	NewVisit   bool
	Before     Visit[O] // the hit's own visit
	After      Visit[O]

	// The visitor's first visit of the day, on which the visitor is booked; equal to Before and After while
	// that visit is open. Of one that is over only hour, entry, exit, hostname and origin are known.
	FirstBefore Visit[O]
	First       Visit[O]
	HoursBefore uint32 // clock hours in which the visitor was seen, as bits
	Hours       uint32

	PreviousInVisit string // path of the page view before this hit, in this visit
	PreviousToday   string // and of the day

	It    Novelty // of the page of a page view, or the name of an event
	Host  Novelty // of the hostname
	Props Novelty // of this event with these properties

	// For Engagement: how much of Hit.Engaged is believed, in milliseconds; see Table.Record.
	Engaged int64
	// And by how much the deepest scroll position of this page in this visit grew, and whether it was the first
	// one known.
	Scrolled    int64
	FirstScroll bool
}
