package tracker

import (
	"encoding/json"
	"fmt"
	"strings"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// A receipt tells a visitor which counters a request has raised. Two things keep it from telling more:
//
// It is given to programs, and to pages of the very site that is asked about. A page of another site could else learn, in a
// visitor's browser, on which sites that visitor was today. Browsers name the page's host in Origin, which no page can forge.
//
// Whoever shares a visitor's address and has the same browser is the same visitor to Dachs, and can ask in their place.
// So what earlier hits have a part in is left out: which page was the one before, where the visit came from, whether this page is
// new today. What remains is one bit: whether this was the first hit of the day, without which a receipt could not say
// that a visitor was counted.

// receipt is the answer to one event. The zero value of its language is English.
type receipt struct {
	german bool
	sites  []siteReceipt
}

// siteReceipt is what happened at one site.
type siteReceipt struct {
	Counted  bool     `json:"counted"`
	Reason   string   `json:"reason"` // of Reason
	Text     string   `json:"text"`
	Site     string   `json:"site,omitempty"` // as the tag names it
	Counters []raised `json:"counters"`
	// Withheld says that the request has changed more than is told here.
	Withheld bool `json:"withheld"`
}

// raised is a row of the store in words: what was added to the measures of a combination of values.
type raised struct {
	Table      string            `json:"table"`
	Date       string            `json:"date"`
	Dimensions map[string]string `json:"dimensions"` // without those that are empty
	Add        map[string]int64  `json:"add"`        // without those that are 0
}

// receiptFor returns a receipt to be filled if a request asks for one and may have it, else nil.
func receiptFor(ctx *fasthttp.RequestCtx, p *Payload) *receipt {
	if !asksForReceipt(ctx) || !ownOrigin(ctx, p.Domain) || p.Name == engagementName {
		return nil
	}
	return &receipt{german: speaksGerman(ctx)}
}

// asksForReceipt looks for ?receipt=1. Requests without a query, nearly all, cost nothing.
func asksForReceipt(ctx *fasthttp.RequestCtx) bool {
	return len(ctx.URI().QueryString()) > 0 && string(ctx.QueryArgs().Peek("receipt")) == "1"
}

func speaksGerman(ctx *fasthttp.RequestCtx) bool {
	return language(string(ctx.Request.Header.Peek(fasthttp.HeaderAcceptLanguage))) == "de"
}

// ownOrigin tells whether a request comes from no page, or from one on the host of each site that is asked about. What lies
// below that host is another's, as on hosts that give their users a name each.
func ownOrigin(ctx *fasthttp.RequestCtx, domains string) bool {
	origins := ctx.Request.Header.PeekAll(fasthttp.HeaderOrigin)
	if len(origins) == 0 {
		return true
	}
	page, ok := splitURL(string(origins[0]))
	if !ok || len(origins) > 1 {
		return false // also "null", a page without a host
	}
	for domain := range strings.SplitSeq(domains, ",") {
		if clean, err := storage.CleanDomain(domain); err != nil || clean != page.host {
			return false
		}
	}
	return true
}

// note adds what happened at a site. The rows are those that were stored, and are not kept. A nil receipt takes no notes.
func (r *receipt) note(site string, reason Reason, rows []storage.Row) {
	if r == nil {
		return
	}
	s := siteReceipt{Counted: reason == Accepted, Reason: reason.String(), Site: strings.TrimSpace(site), Counters: []raised{}}
	newcomer := false
	if s.Counted {
		newcomer = isNewcomer(rows)
		s.Withheld = !newcomer
		for i := range rows {
			if c, ok := tell(&rows[i], newcomer); ok {
				s.Counters = append(s.Counters, c)
			}
		}
	}
	s.Text = receiptText(reason, newcomer, s.Site, r.german)
	r.sites = append(r.sites, s)
}

// isNewcomer tells whether rows book a visitor. Those of a known one can hold some too, who move from one tuple to another:
// their sum is nothing.
func isNewcomer(rows []storage.Row) bool {
	visitors := int64(0)
	for i := range rows {
		if rows[i].Table == storage.Visits {
			visitors += rows[i].Sums[storage.VisitVisitors]
		}
	}
	return visitors > 0
}

// tell puts a row into words. Of those who were here before today it tells only the hit, and of that only what the
// request says itself.
func tell(row *storage.Row, newcomer bool) (raised, bool) {
	c := raised{Table: "hits", Date: row.Day.String(), Dimensions: make(map[string]string), Add: make(map[string]int64)}
	names := hitMeasureNames[:]
	if row.Table == storage.Visits {
		c.Table, names = "visits", visitMeasureNames[:]
	}
	if !newcomer && (row.Table != storage.Hits || row.Sums[storage.Count] == 0) {
		return c, false
	}
	for column, value := range row.Dims {
		column := storage.Column(column)
		if value != "" && (newcomer || isOfRequest(column)) {
			c.Dimensions[dimensionName(column)] = value
		}
	}
	for m, n := range row.Sums {
		if n == 0 || !newcomer && m != int(storage.Count) && m != int(storage.Revenue) {
			continue
		}
		name := fmt.Sprintf("measure %d", m)
		if m < len(names) && names[m] != "" {
			name = names[m]
		}
		c.Add[name] = n
	}
	return c, true
}

// isOfRequest tells whether a hit's value of a column is what its request says, whatever was before.
func isOfRequest(c storage.Column) bool {
	switch c {
	case storage.Hour, storage.Kind, storage.Name, storage.Path, storage.Hostname, storage.Props, storage.Currency:
		return true
	}
	return false
}

// dimensionName returns the name of a column as in the Stats API, or one of its kind for those that cannot be asked for.
func dimensionName(c storage.Column) string {
	switch c {
	case storage.Hour:
		return "hour"
	case storage.Kind:
		return "kind"
	case storage.Previous:
		return "previous_page"
	case storage.Props:
		return "event:props"
	case storage.Currency:
		return "currency"
	}
	return c.String()
}

// The names of measures say what is counted, by storage.Measure.
var (
	hitMeasureNames = [...]string{
		storage.Count: "hits", storage.HitVisits: "visits", storage.HitVisitors: "visitors", storage.PropVisitors: "visitors_by_properties",
		storage.HourVisitors: "visitors_in_hour", storage.Engaged: "milliseconds_in_use", storage.ScrollSum: "scroll_percent",
		storage.ScrollCount: "visits_that_scrolled", storage.Revenue: "revenue_in_minor_units", storage.PropVisits: "visits_by_properties",
	}
	visitMeasureNames = [...]string{
		storage.VisitCount: "visits", storage.VisitVisitors: "visitors", storage.VisitHourVisitors: "visitors_in_hour", storage.Bounces: "bounces",
		storage.VisitPageViews: "pageviews", storage.VisitEvents: "events", storage.Seconds: "seconds",
	}
)

// answer writes the receipt: that of the first site, with those of further ones beside it.
func (r *receipt) answer(ctx *fasthttp.RequestCtx) {
	out := struct {
		siteReceipt
		Also []siteReceipt `json:"also,omitempty"`
	}{siteReceipt: r.sites[0], Also: r.sites[1:]}
	body, err := json.Marshal(out)
	if err != nil {
		panic(fmt.Sprintf("BUG: encode receipt: %v", err)) // strings and numbers
	}
	h := &ctx.Response.Header
	if origin := ctx.Request.Header.Peek(fasthttp.HeaderOrigin); len(origin) > 0 {
		h.SetBytesV(fasthttp.HeaderAccessControlAllowOrigin, origin)
		h.Set(fasthttp.HeaderVary, fasthttp.HeaderOrigin)
	}
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	ctx.SetStatusCode(fasthttp.StatusOK)
	ctx.SetContentType("application/json; charset=utf-8")
	ctx.SetBody(append(body, '\n'))
}

// answerRefused is the receipt of an event that was left out for what its headers say, before anything else was looked at. It
// tells a page nothing that its script does not know.
func answerRefused(ctx *fasthttp.RequestCtx, reason Reason) {
	r := &receipt{german: speaksGerman(ctx)}
	r.note("", reason, nil)
	r.answer(ctx)
}
