package tracker

import (
	"slices"
	"strings"

	"dachs/storage"

	"github.com/valyala/fasthttp"
)

// Refusals are counted for the site's owner, by reason and nothing else. The way of a hit past them: whoever objects is let
// go before anything is derived; then what costs nothing to know (prefetch, bot), then the page and its referrer, then the
// rules of each site, and last the bucket of the client, so that what is refused anyway does not empty it.

// objection says by which header a visitor does not want to be counted, or Accepted: Global Privacy Control or Do Not Track,
// each valid only as exactly "1".
func objection(h *fasthttp.RequestHeader) Reason {
	for _, o := range objections {
		for _, v := range h.PeekAll(o.header) {
			if string(v) == "1" {
				return o.reason
			}
		}
	}
	return Accepted
}

var objections = [...]struct {
	header string
	reason Reason
}{{"Sec-GPC", GPC}, {"DNT", DNT}}

// objected answers somebody who does not want to be counted. Nothing of the event is looked at but the name of the site, for
// whose owner the objection is counted.
func (t *Tracker) objected(ctx *fasthttp.RequestCtx, why Reason) {
	t.noteAll(t.domains(ctx.PostBody()), why)
	t.accept(ctx, why)
}

// domains returns the sites that the body of an event names, or "" if that cannot be told.
func (t *Tracker) domains(body []byte) string {
	if len(body) == 0 || tooDeep(body) {
		return ""
	}
	parser := t.parsers.Get()
	defer t.parsers.Put(parser)
	v, err := parser.ParseBytes(body)
	if err != nil {
		return ""
	}
	page := ""
	if u := field(v, "u", "url"); u != nil {
		page, _ = text(u)
	}
	domain, err := decodeDomain(field(v, "d", "domain"), page)
	if err != nil {
		return ""
	}
	return domain
}

// noteAll notes a refusal for each site of a list, as countAll would count into them. Names of sites that are not here leave
// no trace.
func (t *Tracker) noteAll(domains string, why Reason) {
	if domains == "" {
		return
	}
	n := 0
	var seen [maxDomains]uint32 // IDs of the sites so far; none is 0
	for domain := range strings.SplitSeq(domains, ",") {
		if n == maxDomains {
			break
		}
		site, ok := t.site(domain)
		if ok && slices.Contains(seen[:n], site.ID) {
			continue
		}
		seen[n] = site.ID
		n++
		if ok {
			t.noteRefusal(site, why)
		}
	}
}

// noteRefusal counts a refusal for the owner of a site.
func (t *Tracker) noteRefusal(site storage.Site, why Reason) {
	t.note(site, storage.KindRefused, why.String(), 1)
}

// judge says why a site does not count a hit that may be counted elsewhere, or Accepted.
func (t *Tracker) judge(site *storage.Site, c *Client, h *Hit) Reason {
	if why := t.rules(site).Judge(c, h); why != Accepted {
		return why
	}
	if !c.Trusted && !t.limiter.allow(site.ID, c.Addr, t.now()) {
		return RateLimited
	}
	return Accepted
}

// isBare tells whether a request lacks a header that every browser sends with every request, also with those of scripts and
// images. (Accept-Encoding is one too, but proxies remove it.)
func isBare(h *fasthttp.RequestHeader) bool {
	return len(h.Peek(fasthttp.HeaderAccept)) == 0 || len(h.Peek(fasthttp.HeaderAcceptLanguage)) == 0
}
