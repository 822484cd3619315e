package tracker

// Reason says why a hit was not counted. The set is closed; the names are used in reports, metrics and receipts.
type Reason uint8

const (
	Accepted    Reason = iota
	OptedOut           // Sec-GPC: 1 or DNT: 1, or the visitor's own opt-out
	UnknownSite        // no such site here
	Bot                // the user agent is that of a program
	Prefetch           // fetched ahead of time, seen by nobody
	Malformed          // cannot be read; answered with 400
	NoVisit            // an engagement without an open visit to add to
	Asset              // log import: not a page
	Method             // log import: not a GET
	Status             // log import: not answered with a page
	OutOfOrder         // log import: of a day that was closed several days of log ago
	Overloaded         // answered with 503
	NoHit              // a peer's client says something that is not counted: who a user is, how fast a page was

	reasons
)

var reasonNames = [reasons]string{
	"accepted", "opted_out", "unknown_site", "bot", "prefetch", "malformed", "no_visit",
	"asset", "method", "status", "out_of_order", "overloaded", "no_hit",
}

func (r Reason) String() string { return reasonNames[r] }

// Reasons lists every reason, Accepted first.
func Reasons() []Reason {
	all := make([]Reason, reasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
