package tracker

// Reason says why a hit was not counted. The set is closed; the names are used in reports, metrics and receipts, and are on
// disk where a site's refusals are counted: never change one.
type Reason uint8

const (
	Accepted    Reason = iota
	GPC                // Sec-GPC: 1
	DNT                // DNT: 1
	OptedOut           // the page says that its visitor has opted out
	UnknownSite        // no such site here
	Bot                // the user agent is that of a program
	Prefetch           // fetched ahead of time, seen by nobody
	Spam               // the referrer is that of a spammer
	DataCentre         // sent from a data centre; if the site says so
	Headless           // without headers that every browser sends; if the site says so
	Network            // from a network that the site leaves out
	Agent              // a user agent that the site leaves out
	Host               // not one of the hosts that the site allows
	Path               // a page that the site leaves out
	Country            // from a country that the site leaves out
	RateLimited        // too many from one address within seconds
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
	"accepted", "gpc", "dnt", "opted_out", "unknown_site", "bot", "prefetch", "spam", "data_centre", "headless", "network", "agent",
	"host", "path", "country", "rate_limited", "malformed", "no_visit", "asset", "method", "status", "out_of_order", "overloaded",
	"no_hit",
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
