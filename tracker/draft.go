package tracker

import (
	"strings"

	"dachs/storage"
	"dachs/tracker/visit"
)

// Draft is a hit before it is known into which site it counts. What the request alone decides (browser, system, place,
// properties) is worked out once; what a site's settings have a say in (path, city, whether the referrer is the site itself)
// is added by For. A Draft can be used again for the next request. It shares memory with the payload it was made of:
// set it to Draft{} when the request is over.
type Draft struct {
	hit      Hit
	page     address
	referrer string
	withPath bool   // For adds the path to the properties
	props    []Prop // if withPath; else they are in the hit
	route    bool   // the payload says that the fragment is a route
	city     string
	replaced Replaced // in what For does not touch
}

// Draft begins the hit that p and c make, or says why there is none, as Enrich does.
func (e *Enricher) Draft(p *Payload, c *Client, d *Draft) (Reason, error) {
	if isAhead(c.Purpose) {
		return Prefetch, nil
	}
	if IsBot(c.UserAgent) || c.Hints.headless {
		return Bot, nil
	}
	page, ok := splitURL(p.URL)
	if !ok {
		return Malformed, errNoPage
	}
	if from, ok := splitURL(p.Referrer); ok && isSpam(from.host) {
		return Spam, nil
	}
	where := e.geo.locate(c.Addr)
	*d = Draft{page: page, referrer: p.Referrer, route: p.HashMode, city: where.city}
	d.hit = Hit{
		Kind:        kindOf(p.Name),
		Name:        strings.Clone(redact(p.Name, &d.replaced)),
		Hostname:    strings.Clone(page.host),
		Revenue:     Money{p.Revenue.Amount, strings.Clone(p.Revenue.Currency)},
		Interactive: p.Interactive,
		Scroll:      -1,
		Attributes:  e.attributes(p, c, &where),
	}
	switch d.hit.Kind {
	case visit.Event:
		if d.withPath = tellsPath(p); d.withPath {
			d.props = p.Props
		} else {
			d.hit.Props = encodeProps(p.Props, &d.replaced)
		}
	case visit.Engagement:
		d.hit.Engaged, d.hit.Scroll = p.Engaged, p.Scroll
	}
	return Accepted, nil
}

// For returns the hit at a site. It is valid until the next call, and shares no memory with the payload.
func (d *Draft) For(site *storage.Site) *Hit {
	h, s := &d.hit, &site.Settings
	h.Replaced = d.replaced
	h.Path = strings.Clone(pagePath(d.page, d.route || s.Fragment, s.Query, &h.Replaced))
	h.Origin = originOf(d.page, d.referrer, site, &h.Replaced)
	if h.Attributes.City = ""; s.City {
		h.Attributes.City = d.city
	}
	if d.withPath {
		h.Props = encodeProps(append(d.props[:len(d.props):len(d.props)], Prop{pathProp, h.Path}), &h.Replaced)
	}
	return h
}

// pathProp is the property under which Plausible's server notes the page of some events, which its reports and clients ask for.
const pathProp = "path"

// tellsPath tells whether an event is one of those whose page is a property too: the names are those of Plausible's script.
func tellsPath(p *Payload) bool {
	if p.Name != "404" && p.Name != "Form: Submission" || len(p.Props) >= maxProps {
		return false
	}
	for i := range p.Props {
		if p.Props[i].Key == pathProp {
			return false
		}
	}
	return true
}
