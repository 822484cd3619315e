package tracker

import (
	"strings"

	"dachs/storage"
	"dachs/tracker/visit"
)

// EnricherOptions configures NewEnricher.
type EnricherOptions struct {
	Geo *Geo // nil: the embedded table of countries
}

// Enricher turns what a page and its browser say into the terms of the cube. It reads nothing but its arguments
// and tables that never change, so equal arguments give equal hits, and many goroutines may use it.
type Enricher struct{ geo *Geo }

// NewEnricher makes an Enricher. The Geo stays the caller's to close.
func NewEnricher(o EnricherOptions) (*Enricher, error) {
	if o.Geo != nil {
		return &Enricher{o.Geo}, nil
	}
	geo, err := OpenGeo("")
	if err != nil {
		return nil, err
	}
	return &Enricher{geo}, nil
}

// Enrich returns the hit that p and c make at a site, or why there is none: Bot, Prefetch, Spam, or Malformed with an error that
// says which field is wrong. Whether the visitor or the site wants to be counted is for the caller to ask before.
// The hit shares no memory with p and c, so that keeping it does not keep a full URL or user agent.
func (e *Enricher) Enrich(p *Payload, c *Client, site *storage.Site) (Hit, Reason, error) {
	var d Draft
	if reason, err := e.Draft(p, c, &d); reason != Accepted {
		return Hit{}, reason, err
	}
	return *d.For(site), Accepted, nil
}

// errNoPage never quotes the URL: errors are logged, and URLs are not to be.
var errNoPage error = &FieldError{"url", "is not the address of a web page; want the full address, such as https://example.com/path"}

func kindOf(name string) visit.Kind {
	switch name {
	case storage.PageViewName:
		return visit.PageView
	case engagementName:
		return visit.Engagement
	}
	return visit.Event
}

func (e *Enricher) attributes(p *Payload, c *Client, where *place) Attributes {
	d := c.Hints.refine(parseUserAgent(c.UserAgent))
	a := Attributes{
		Country: where.country, Region: where.region,
		Browser: d.browser, BrowserVersion: d.browserVersion,
		OS: d.os, OSVersion: d.osVersion, Device: d.class,
		Screen: screenClass(p.Width), Language: language(p.Language),
	}
	if a.Language == "" {
		a.Language = language(c.Language)
	}
	return a
}

// language returns the primary subtag of the first language in an Accept-Language header, such as "de" of
// "de-AT,de;q=0.9,en;q=0.8". Browsers put the preferred one first. More of the header would tell people apart.
func language(accept string) string {
	first, _, _ := strings.Cut(accept, ",")
	first, _, _ = strings.Cut(first, ";")
	primary, _, _ := strings.Cut(strings.TrimSpace(first), "-")
	primary, _, _ = strings.Cut(primary, "_")
	if len(primary) < 2 || len(primary) > 3 {
		return ""
	}
	for i := range len(primary) {
		if c := primary[i] | 0x20; c < 'a' || c > 'z' {
			return ""
		}
	}
	return strings.Clone(strings.ToLower(primary))
}

// encodeProps writes properties as the store holds them, with what points to a person replaced in keys and values, and
// addresses without their query. Of repeated keys the first counts. No properties are the empty string.
func encodeProps(props []Prop, n *Replaced) string {
	clean := make([]storage.Prop, len(props))
	for i, p := range props {
		clean[i] = storage.Prop{Key: redact(p.Key, n), Value: cleanValue(p.Value, n)}
	}
	return storage.EncodeProps(clean)
}

// cleanValue redacts a property's value. Of addresses, as link and download events carry them, only scheme, host
// and path are left: the query of another site's page can hold as much as our own.
func cleanValue(value string, n *Replaced) string {
	if a, ok := splitURL(value); ok && (a.scheme == "http" || a.scheme == "https") {
		return a.scheme + "://" + redact(a.host, n) + cleanPath(a.path, n)
	}
	return redact(strings.ToValidUTF8(value, "\uFFFD"), n)
}
